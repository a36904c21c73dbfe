"""
Poison: steps that end their process or raise what nobody expects, and records of no worker.

A share of the seeds has it; the plans of all others stay the same.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import NoReturn

from simulation.calls_plan import NO_TROUBLE
from simulation.plan import Call, Fault, Plan, RunPlan

#: FLEET_CRASH_LIMIT where workers die of a step.
CRASH_LIMIT = 3
#: What is written beside a run's own records; see `outsider.poison`.
FOREIGN = (
    "timeout",
    "epoch",
    "key",
    "tombstone",
    "deep",
    "long",
    "validator",
    "lifecycle",
    "started",
)
#: What a step raises, and what it does to its own task.
RAISES = ("panic", "exit", "interrupt", "generator", "speechless", "cancel", "cancelled", "refused")
#: Steps whose event is not done before them; `note` may come after the run's end.
_KILLING = ("begin", "shape", "end")
#: Compute of a step from which on a history is about crowded workers.
BUSY_SECONDS = 0.005
#: Broker's error for a record that is too large.
MESSAGE_TOO_LARGE = 10


class Panic(BaseException):
    """No Exception."""


class Speechless(Exception):
    """Cannot be described."""

    args = None  # type: ignore[assignment]

    def __str__(self) -> str:
        raise Panic


@dataclass
class Poisons:
    """Who raises what, by run."""

    raises: dict[str, str]
    #: How many workers each step has ended, by the key that its attempts share.
    kills: Counter[str] = field(default_factory=Counter)
    #: Ends the process of a worker, which runs a step of a run.
    on_kill: Callable[[str, str, str], None] = lambda _worker, _run_id, _key: None

    def is_at_once(self, run_id: str) -> bool:
        """Whether the run's failing step does it before anything else."""
        return self.raises.get(run_id) == "kill at once"

    async def strike(self, run_id: str, key: str, worker: str, number: int) -> None:
        """Do what this run's failing step does."""
        kind = self.raises.get(run_id, "")
        if kind.startswith("kill"):
            self.kills[key] += 1
            self.on_kill(worker, run_id, key)
            await asyncio.Event().wait()
        if kind == "refused":
            # What it returns is not taken.
            return
        if kind == "cancel":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        _strike(kind, number)


def _strike(kind: str, number: int) -> NoReturn:
    match kind:
        case "panic":
            raise Panic(number)
        case "exit":
            raise SystemExit(number)
        case "interrupt":
            raise KeyboardInterrupt
        case "generator":
            raise GeneratorExit
        case "cancelled":
            raise asyncio.CancelledError
        case "speechless":
            raise Speechless
    raise LookupError(f"attempt {number}")


def poisoned(plan: Plan) -> Plan:
    """Return the plan of a seed with its poison, if it has any."""
    busy = plan.compute.step > BUSY_SECONDS or plan.crowd is not None
    if plan.mix is not None or busy or plan.calling != NO_TROUBLE:
        return plan
    random = Random(f"poison {plan.seed}")
    match plan.seed % 20:
        case 13:
            return _crashing(random, plan)
        case 6 | 17:
            return _raising(random, plan)
    return plan


def _crashing(random: Random, plan: Plan) -> Plan:
    runs = [*plan.runs, *(_healthy(random, number) for number in range(random.randint(2, 5)))]
    killer = random.randrange(len(runs))
    runs[killer] = replace(
        runs[killer],
        # One event that kills. With several of them a neighbour may be there each time.
        calls=(replace(runs[killer].calls[0], parts=1),),
        fails=random.choice(_KILLING),
        raises=random.choice(("kill", "kill at once")),
        timeout_seconds=None,
        cancelled_at=(),
        copied_at=(),
        poisoned_at=(),
        resumed_at=(),
    )
    stops = [
        Fault(at=random.uniform(8, 40), kind="stop", worker=random.randrange(3), seconds=1.0)
        for _ in range(random.choice((0, 0, 1, 2)))
    ]
    return replace(plan, runs=tuple(runs), faults=tuple(stops), crash_limit=CRASH_LIMIT)


def _healthy(random: Random, number: int) -> RunPlan:
    call = Call(random.uniform(5, 15), random.randrange(2), random.choice((1, 2)))
    return RunPlan(f"near{number}", (call,), "", None, (), ())


def _raising(random: Random, plan: Plan) -> Plan:
    return replace(plan, runs=tuple(_with_poison(random, run) for run in plan.runs))


def _with_poison(random: Random, run: RunPlan) -> RunPlan:
    if random.random() < 0.5:
        fails = run.fails if run.fails in _KILLING else random.choice(_KILLING)
        run = replace(run, fails=fails, raises=random.choice(RAISES))
    if random.random() < 0.5:
        at = run.calls[0].at + random.choice((random.uniform(-1, 0.2), random.uniform(0, 6)))
        run = replace(run, poisoned_at=(*run.poisoned_at, (at, random.choice(FOREIGN))))
    return run
