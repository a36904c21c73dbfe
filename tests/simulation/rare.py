"""
Worlds in which a guard is needed that hardly any other history needs.

Each has a small share of the seeds by a chance of its own, and plans them as a whole: the plans of
all other seeds stay the same. In each of them one thing happens again and again, and little else.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from simulation.broker import NODES
from simulation.calls_plan import NO_TROUBLE
from simulation.clocks import MOST_BACK_SECONDS, Clock, Clocks
from simulation.plan import Compute, Fault, Opening, Plan, Wire, run_once
from simulation.poisoned import CRASH_LIMIT
from simulation.replacing import damage

#: Share of the seeds that each world has.
SHARE = 0.01


def rare(plan: Plan) -> Plan:
    """Return the plan of a seed with the world that it has, if it has one."""
    if damage(plan.seed) is not None:
        return plan
    for topic, world in WORLDS.items():
        random = Random(f"{topic} {plan.seed}")
        if random.random() < SHARE:
            return world(random, _quiet(plan))
    return plan


def _quiet(plan: Plan) -> Plan:
    """Return a plan of one worker and one partition to which nothing happens."""
    return replace(
        plan,
        partitions=1,
        workers=1,
        slots=100,
        longest=3.0,
        refusal=0,
        dedupe_seconds=60.0,
        stale_seconds=1_000.0,
        tombstone_seconds=1_002.5,
        ghosts=(),
        faults=(),
        compute=Compute(),
        crowd=None,
        wire=Wire(breaks=0.0, moved_at=(), away_seconds=0.0, expired_at=()),
        mix=None,
        opening=Opening(),
        calling=NO_TROUBLE,
        crash_limit=0,
    )


def _last_chances(random: Random, plan: Plan) -> Plan:
    """Neighbours of a step that ends its process have their last chance beside another such step.

    That one waits for a slot until the first one is set aside. Its order is there before a third
    process has died, so it is counted by the time of the last chances, and they wait for it.

    Of an order that comes later the engine promises nothing: what was never in flight when a
    process died is no suspect and runs beside a last chance. If it ends the process, that one more
    death is the neighbour's. To prevent it all that is new would have to wait for each last chance,
    which may take as long as any step, and this for two such steps within so short a time.
    """
    neighbours, begin = random.randint(1, 3), random.uniform(5, 8)
    runs = (
        run_once("first", begin, random, raises="kill at once"),
        *(run_once(f"near{each}", begin + 0.01, random) for each in range(neighbours)),
        run_once("second", begin + 0.03, random, raises=random.choice(("kill", "kill at once"))),
    )
    return replace(plan, slots=1 + neighbours, runs=runs, crash_limit=CRASH_LIMIT)


def _last_chances_apart(random: Random, plan: Plan) -> Plan:
    """Steps of several partitions have their last chance while their worker loses logs.

    Or while partitions move, and not both: of a log that is lost when its partition moves the next
    owner cannot tell that the process lives.
    """
    begin = random.uniform(5, 8)
    kinds = ["kill", "kill at once", *[""] * 6]
    runs = (
        run_once(f"run{number}", begin + random.uniform(0, 0.05), random, raises=kind)
        for number, kind in enumerate(random.sample(kinds, len(kinds)))
    )
    workers = random.choice((1, 2))
    faults = (
        Fault(
            at=begin + random.uniform(0, 50),
            kind="fence" if workers == 1 else random.choice(("rebalance", "join")),
            worker=0,
            count=random.randrange(3),
        )
        for _ in range(60 if workers == 1 else 8)
    )
    return replace(
        plan,
        workers=workers,
        partitions=3,
        longest=random.choice((3.0, 6.0)),
        runs=tuple(runs),
        faults=tuple(faults),
        opening=Opening(reopen_seconds=0.1),
        crash_limit=CRASH_LIMIT,
    )


def _deaths_amid_rebalances(random: Random, plan: Plan) -> Plan:
    """A step ends its process again and again while workers stop and partitions move in order."""
    begin = random.uniform(5, 8)
    runs = (
        run_once("first", begin, random, raises=random.choice(("kill", "kill at once"))),
        *(run_once(f"near{each}", begin + random.uniform(0, 10), random) for each in range(4)),
    )
    faults = (
        Fault(at=begin + random.uniform(0, 50), kind=kind, worker=random.randrange(2), seconds=0.2)
        for kind in random.choice((("rebalance",) * 20, ("stop",) * 30))
    )
    return replace(
        plan,
        partitions=2,
        workers=2,
        drain_seconds=random.choice((0.1, 0.5)),
        wire=replace(plan.wire, breaks=random.choice((0.0, 0.3))),
        runs=runs,
        faults=tuple(faults),
        crash_limit=CRASH_LIMIT,
    )


def _lost_after_a_death(random: Random, plan: Plan) -> Plan:
    """A process whose predecessor died loses its log, and opens it again, before a step ends it."""
    begin = random.uniform(5, 8)
    runs = (
        run_once("first", begin, random, raises="kill"),
        # What they commit tells the process that its log is lost.
        *(run_once(f"near{each}", begin + random.uniform(0, 10), random) for each in range(6)),
    )
    return replace(
        plan,
        longest=5.0,
        runs=runs,
        faults=_fences(random, begin, count=24),
        opening=Opening(reopen_seconds=0.1),
        crash_limit=CRASH_LIMIT,
    )


def _set_back_in_a_commit(random: Random, plan: Plan) -> Plan:
    """The broker's clock is set back while commits take long, and little is committed afterwards.

    How long ago the broker appended a record is then known to within the length of its commit.
    """
    begin = random.uniform(5, 8)
    node = Clock(steps=((begin + random.uniform(0, 1.5), MOST_BACK_SECONDS),))
    runs = (
        replace(
            run_once(f"run{each}", begin + each * 0.3, random), fails="never", timeout_seconds=20.0
        )
        for each in range(3)
    )
    return replace(
        plan,
        longest=0.5,
        runs=tuple(runs),
        wire=Wire(breaks=0.3, moved_at=(), away_seconds=0.0, expired_at=()),
        clocks=Clocks(plan.seed, nodes=(node,) * NODES),
    )


def _copy_from_the_future(random: Random, plan: Plan) -> Plan:
    """A folder comes back after tombstones have left the changelog and the clock was set back.

    The process was killed before it had flushed what it deleted, and by that clock its copy is
    younger than nothing.
    """
    at = random.uniform(9, 12)
    node = Clock(steps=((at + 9.0, MOST_BACK_SECONDS),))
    return replace(
        plan,
        longest=0.5,
        dedupe_seconds=1.0,
        stale_seconds=4.0,
        tombstone_seconds=6.5,
        compacted_at=tuple(at + 7.0 + 0.5 * number for number in range(4)),
        runs=tuple(
            run_once(f"run{each}", random.uniform(at - 6, at - 1), random) for each in range(8)
        ),
        faults=(Fault(at=at, kind="kill", worker=0, seconds=random.uniform(10, 14)),),
        clocks=Clocks(plan.seed, nodes=(node,) * NODES),
    )


def _frozen_before_there_is_state(random: Random, plan: Plan) -> Plan:
    """A worker is frozen in the first load of all, and another one begins and commits meanwhile."""
    pause = Fault(
        at=0.0,
        kind="pause",
        worker=random.randrange(2),
        seconds=random.uniform(14, 18),
        request="ends",
        count=0,
        when=random.choice(("before", "after")),
    )
    return replace(
        plan,
        workers=2,
        runs=tuple(run_once(f"run{each}", random.uniform(8, 12), random) for each in range(4)),
        faults=(pause,),
    )


def _moved_while_steps_wait(random: Random, plan: Plan) -> Plan:
    """Partitions move away from workers that keep others, with many steps that wait for a slot."""
    begin = random.uniform(5, 8)
    faults = (
        Fault(
            at=begin + random.uniform(0, 10),
            kind=random.choice(("join", "stop")),
            worker=random.randrange(3),
            seconds=1.0,
        )
        for _ in range(6)
    )
    return replace(
        plan,
        workers=2,
        partitions=6,
        slots=2,
        longest=0.1,
        drain_seconds=1.0,
        runs=tuple(run_once(f"run{number}", begin, random, most=3) for number in range(60)),
        faults=tuple(faults),
        # Brokers' clocks agree then, see `clocks`.
        calling=replace(plan.calling, tokens=1),
    )


def _long_steps(random: Random, plan: Plan) -> Plan:
    """Steps take longer than sessions, joins and drains while workers freeze, stop and come.

    Or there is one worker, and only rebalances: its steps then go on.
    """
    begin, workers = random.uniform(5, 8), random.choice((1, 2))
    kinds = ("rebalance",) if workers == 1 else ("rebalance", "freeze", "stop", "kill", "join")
    faults = (
        Fault(
            at=begin + random.uniform(0, 20),
            kind=random.choice(kinds),
            worker=random.randrange(3),
            seconds=random.uniform(7, 14),
        )
        for _ in range(random.randint(2, 5))
    )
    return replace(
        plan,
        workers=workers,
        partitions=random.choice((1, 2)),
        longest=25.0,
        drain_seconds=random.choice((0.0, 2.0, 10.0)),
        runs=tuple(run_once(f"run{number}", begin, random) for number in range(3)),
        faults=tuple(faults),
    )


WORLDS: dict[str, Callable[[Random, Plan], Plan]] = {
    "last chances": _last_chances,
    "lost after a death": _lost_after_a_death,
    "set back in a commit": _set_back_in_a_commit,
    "copy from the future": _copy_from_the_future,
    "frozen before there is state": _frozen_before_there_is_state,
    "last chances apart": _last_chances_apart,
    "deaths amid rebalances": _deaths_amid_rebalances,
    "moved while steps wait": _moved_while_steps_wait,
    "long steps": _long_steps,
}


def _fences(random: Random, begin: float, count: int) -> tuple[Fault, ...]:
    return tuple(
        Fault(at=random.uniform(begin, begin + 15), kind="fence", worker=0) for _ in range(count)
    )
