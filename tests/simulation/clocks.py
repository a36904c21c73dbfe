"""
Clocks that are wrong: by hours, by a drift, by steps forward and back as an operator makes them.

Each machine has its own: of a worker it is what `time.time` says there, of a node of the broker
what it stamps records with. The world's time is the true one, and what monotonic clocks measure.

Its chance is its own, so a history without wrong clocks is the same with and without this module.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from simulation.broker import NODES
from simulation.world import BEGINNING

if TYPE_CHECKING:
    from simulation.plan import Plan, RunPlan

HOUR = 3600.0
#: Share of the seeds in which workers' clocks are wrong, and of those in which the broker's are.
WRONG, BROKERS_WRONG = 0.3, 0.06
#: How far a broker's clock is set back at most, in seconds: a history takes minutes.
MOST_BACK_SECONDS = -20.0
#: What may happen beside it.
_FAULTS = ("kill", "rebalance", "stop", "join")


@dataclass(frozen=True)
class Clock:
    """One machine's."""

    #: How far it is ahead at the beginning, in seconds.
    ahead: float = 0.0
    #: How many seconds it gains in each.
    drift: float = 0.0
    #: When it is set, in seconds of the history, and how far forward.
    steps: tuple[tuple[float, float], ...] = ()

    def at(self, now: float) -> float:
        """Return what it shows at *now*; both in unix seconds."""
        passed = now - BEGINNING
        stepped = sum(seconds for at, seconds in self.steps if at <= passed)
        return now + self.ahead + self.drift * passed + stepped


TRUE = Clock()


@dataclass(frozen=True)
class Clocks:
    """All machines' clocks in one history."""

    seed: int = 0
    #: Whether those of the workers are wrong.
    workers: bool = False
    #: Of the broker's nodes; empty where they are right.
    nodes: tuple[Clock, ...] = ()

    def worker(self, number: int) -> Clock:
        """Return the clock of the machine on which the *number*-th process runs."""
        return _wrong(Random(f"clock {self.seed} {number}")) if self.workers else TRUE

    def node(self, number: int) -> Clock:
        """Return the clock of a node of the broker."""
        return self.nodes[number] if self.nodes else TRUE

    @property
    def judged(self) -> bool:
        """Whether it is looked whether runs end by their deadlines."""
        return bool(self.nodes)


ALL_RIGHT = Clocks()


def clocked(made: "Plan", *, busy: bool) -> "Plan":
    """Return a plan with the clocks of its machines.

    The broker's are right where it is *busy*: what else goes wrong with logs, versions and streams
    is told by append times.
    """
    random = Random(f"clocks {made.seed}")
    chance = random.random()
    if chance > WRONG:
        return made
    busy = bool(busy or made.crowd or made.mix or made.calling.tokens or made.crash_limit)
    if chance > BROKERS_WRONG or busy:
        return replace(made, clocks=Clocks(made.seed, workers=True))
    return _with_deadlines(random, made)


def _with_deadlines(random: Random, made: "Plan") -> "Plan":
    """Let every run have a deadline, all clocks be wrong, and few other things happen."""
    together = _node(random)
    nodes = (together,) * NODES if random.random() < 0.5 else tuple(_node(random) for _ in "123")
    runs = tuple(_with_deadline(random, run) for run in made.runs)
    longest = random.choice((0.5, 3.0))
    faults = [each for each in made.faults if each.kind in _FAULTS]
    faults = random.choice((faults, []))
    if made.wire.moved_at or faults or made.opening != type(made.opening)():
        # A partition keeps its deadlines when its leader or its worker moves, and what a task
        # hears first is what time the changelog's leader has: brokers' clocks have to agree, as
        # docs/promise.md says.
        nodes = (together,) * NODES
    return replace(
        made,
        clocks=Clocks(made.seed, workers=True, nodes=nodes),
        runs=runs,
        slots=100,
        longest=longest,
        dedupe_seconds=60.0,
        faults=tuple(faults),
        compute=replace(made.compute, callback=0.0, record=0.0, step=0.0, change=0.0),
    )


def _with_deadline(random: Random, run: "RunPlan") -> "RunPlan":
    fails = random.choice(("", "never"))
    return replace(
        run,
        calls=run.calls[:1],
        fails=fails,
        timeout_seconds=random.choice((2.0, 6.0, 20.0, 20.0 if fails else 600.0)),
        cancelled_at=(),
        advised_at=(),
        copied_at=(),
        poisoned_at=(),
        resumed_at=(),
        raises="",
    )


def _node(random: Random) -> Clock:
    """Return the clock of a node: one that is set back by an hour lets runs go on for an hour."""
    clock = _wrong(random)
    steps = tuple((at, max(seconds, MOST_BACK_SECONDS)) for at, seconds in clock.steps)
    return replace(clock, steps=steps)


def _wrong(random: Random) -> Clock:
    steps = [
        (random.uniform(3, 30), random.choice((HOUR, 60.0, 5.0, -5.0, -60.0, -HOUR)))
        for _ in range(random.choice((0, 1, 1, 3)))
    ]
    return Clock(
        ahead=random.choice((0.0, random.uniform(-1, 1), random.uniform(-12, 12) * HOUR)),
        drift=random.choice((0.0, random.uniform(-0.001, 0.001))),
        steps=tuple(sorted(steps)),
    )
