"""What goes wrong with callers, and what they do beside starting runs: a share of the histories."""

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulation.plan import Plan, RunPlan

#: Share of the histories in which callers have a hard time.
SHARE = 0.25


@dataclass(frozen=True)
class CallerFault:
    """Something goes wrong with one caller's connection."""

    at: float
    caller: int
    #: `hang`: nothing arrives or comes. `errors`: requests fail. `deaf`: its consumers get nothing
    #: any more.
    kind: str
    seconds: float


@dataclass(frozen=True)
class LateCall:
    """A run that is asked for again, or for the first time, when the faults are over."""

    at: float
    caller: int
    run_id: str
    parts: int
    timeout_seconds: float | None


@dataclass(frozen=True)
class Calling:
    """What is planned for the callers of a history."""

    #: How many events each attempt of some steps shows.
    tokens: int = 0
    faults: tuple[CallerFault, ...] = ()
    late: tuple[LateCall, ...] = ()
    #: Callers cannot read the results of these runs.
    unreadable: frozenset[str] = frozenset()
    #: When records of the stream are written again, as by a client that heard no answer.
    copied_at: tuple[float, ...] = ()
    #: Events that are sent from outside while requests fail: when, by whom, to which run.
    advised: tuple[tuple[float, int, str], ...] = ()
    #: How much longer it takes to be told the end of a partition, in seconds.
    slow_ends: float = 0.0
    #: Whether a request that fails may have been met.
    in_doubt: bool = False
    #: Whether readers of streams die and continue from their cursors.
    readers_die: bool = False


NO_TROUBLE = Calling()


def called(plan: "Plan", long: float) -> "Plan":
    """Return a plan with what its callers do and suffer.

    *long*: for how many seconds ended runs are remembered where they may be asked for again.
    """
    if plan.calling != NO_TROUBLE:
        # A theme has planned it.
        return plan
    once = plan.dedupe_seconds < long
    calling = make(plan.seed, plan.runs, once=once)
    if plan.crowd is not None:
        # It may take longer than their timeouts to be worked off: seed 19893.
        late = tuple(replace(each, timeout_seconds=None) for each in calling.late)
        calling = replace(calling, late=late)
    over = max((each.at + each.seconds for each in calling.faults), default=0.0)
    # A start that was held back must not come when its run is forgotten.
    dedupe = max(plan.dedupe_seconds, over if once else over + long)
    return replace(plan, calling=calling, dedupe_seconds=dedupe)


def make(seed: int, runs: "Sequence[RunPlan]", *, once: bool) -> Calling:
    """Return what is planned for the callers of *runs*.

    *once*: an ended run is soon forgotten, so nothing may be asked for again.
    """
    # Chance of its own: all other histories are the same with and without it.
    random = Random(f"calling {seed}")
    if random.random() > SHARE:
        return NO_TROUBLE
    faults = tuple(_fault(random) for _ in range(random.choice((0, 1, 1, 2))))
    over = max((each.at + each.seconds for each in faults), default=0.0)
    after = max(60.0, over + 10) + random.uniform(0, 5)
    late = [
        # A task whose transactional id was forgotten learns it now, and is opened anew.
        LateCall(after, caller, f"after{caller}", 1, random.choice((None, 40.0)))
        for caller in range(2)
    ]
    if not once:
        late += [_again(random, run) for run in runs]
    return Calling(
        tokens=random.choice((1, 3, 6)),
        faults=faults,
        late=tuple(late),
        unreadable=frozenset({"run0"} if random.random() < 0.2 else ()),
        copied_at=tuple(random.uniform(5, 20) for _ in range(random.choice((0, 0, 10)))),
        advised=() if once else _advised(random, faults, runs),
        slow_ends=random.choice((0.0, 0.3, 0.5)),
        in_doubt=not once,
        readers_die=not once,
    )


def _advised(
    random: Random, faults: tuple[CallerFault, ...], runs: "Sequence[RunPlan]"
) -> tuple[tuple[float, int, str], ...]:
    return tuple(
        (fault.at + random.uniform(0, min(fault.seconds, 10)), fault.caller, run.run_id)
        for fault in faults
        for run in runs
        if fault.kind == "errors"
        for _ in range(2)
    )


def _fault(random: Random) -> CallerFault:
    return CallerFault(
        at=random.uniform(4, 16),
        caller=random.randrange(2),
        kind=random.choice(("hang", "errors", "errors", "deaf")),
        seconds=random.choice((random.uniform(0, 3), random.uniform(3, 14), 45.0, 65.0)),
    )


def _again(random: Random, run: "RunPlan") -> LateCall:
    """Ask for a run of the history again: its id is known, and its end may lie far back."""
    at, caller = random.uniform(20, 45), random.randrange(2)
    return LateCall(at, caller, run.run_id, run.calls[0].parts, run.timeout_seconds)
