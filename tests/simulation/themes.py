"""
Histories in which several rare things come together, as they would once in ten thousand by chance.

A theme changes the plan of a small share of the seeds so that one guard is the only thing between
the history and a broken promise. Its chance is its own: the plans of all other seeds stay the same.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from simulation.calls_plan import Calling
from simulation.plan import Compute, Fault, Opening, Plan, Wire, run_once

#: Share of the seeds that each theme has.
SHARE = 0.025


def themed(plan: Plan) -> Plan:
    """Return the plan of a seed with its theme, where it has one."""
    random = Random(f"theme {plan.seed}")
    for theme in THEMES:
        if random.random() < SHARE:
            return theme(random, replace(plan, mix=None))
    return plan


def _old_copy_returns(random: Random, plan: Plan) -> Plan:
    """A worker's folder comes back after tombstones of its keys have left the changelog."""
    back_after = random.uniform(14, 24)
    at = random.uniform(6, 9)
    return replace(
        plan,
        workers=2,
        partitions=2,
        slots=100,
        longest=0.5,
        dedupe_seconds=1.0,
        stale_seconds=4.0,
        tombstone_seconds=6.5,
        compacted_at=tuple(at + back_after - 8 + second for second in range(8)),
        runs=tuple(
            run_once(f"run{number}", random.uniform(at - 4, at), random, most=3)
            for number in range(random.choice((4, 8)))
        ),
        faults=(Fault(at=at, kind="kill", worker=random.randrange(2), seconds=back_after),),
    )


def _frozen_while_loading(random: Random, plan: Plan) -> Plan:
    """A worker is frozen while it loads, and its partitions go elsewhere with open events."""
    at = random.uniform(7, 9)
    pause = Fault(
        at=at,
        kind="pause",
        worker=0,
        seconds=random.uniform(8, 14),
        request="ends",
        count=random.randint(0, 5),
        when=random.choice(("before", "after")),
    )
    other = random.choice(("kill", "rebalance", "join"))
    change = Fault(at=at + 0.1, kind=other, worker=1, seconds=random.uniform(0, 1))
    return replace(
        plan,
        workers=2,
        slots=100,
        longest=3.0,
        dedupe_seconds=60.0,
        runs=tuple(
            run_once(f"run{number}", random.uniform(at - 1, at + 12), random, most=3)
            for number in range(8)
        ),
        faults=(pause, change),
    )


def _events_outlive_their_run(random: Random, plan: Plan) -> Plan:
    """A topic is read long after its events' run has ended and been due to be forgotten."""
    begin = random.uniform(6, 8)
    run = replace(
        run_once("run0", begin, random, parts=3),
        timeout_seconds=random.choice((None, random.uniform(1, 3))),
        cancelled_at=(begin + random.uniform(0.5, 2),),
        advised_at=(begin + 0.4, begin + 1.0),
    )
    lags = tuple(
        Fault(at=begin - 1, kind="lag", worker=0, seconds=random.uniform(16, 24), topic=topic)
        for topic in random.sample(range(6), 2)
    )
    return replace(
        plan,
        workers=1,
        slots=100,
        longest=0.5,
        dedupe_seconds=1.0,
        runs=(run,),
        faults=lags,
    )


def _opened_amid_rebalances(random: Random, plan: Plan) -> Plan:
    """Lost tasks are opened again at once, slowly, while partitions move."""
    faults: list[Fault] = []
    for _ in range(4):
        at = random.uniform(6, 18)
        faults += (
            Fault(at=at, kind="fence", worker=0, count=partition, seconds=0.0)
            for partition in range(2)
        )
        for _ in range(2):
            later = at + random.uniform(0.5, 6)
            faults.append(Fault(at=later, kind="rebalance", worker=0))
    return replace(
        plan,
        workers=2,
        partitions=2,
        slots=100,
        longest=3.0,
        drain_seconds=2.0,
        dedupe_seconds=60.0,
        runs=tuple(
            run_once(f"run{number}", random.uniform(5, 18), random, most=3) for number in range(8)
        ),
        faults=tuple(faults),
        opening=Opening(init_slow=0.7, deaf=0.5, reopen_seconds=0.1),
    )


def _crowded_loop(random: Random, plan: Plan) -> Plan:
    """Many steps are ready at once and compute: every turn of the loop is seconds away."""
    begin = random.uniform(5, 8)
    return replace(
        plan,
        workers=1,
        partitions=1,
        slots=100,
        longest=0.5,
        refusal=0,
        drain_seconds=10.0,
        crowd=None,
        opening=Opening(),
        compute=Compute(callback=random.uniform(0.005, 0.02), step=random.uniform(0.02, 0.1)),
        wire=Wire(breaks=0.0, moved_at=(), away_seconds=0.0, expired_at=()),
        runs=tuple(run_once(f"run{number}", begin, random, parts=3) for number in range(30)),
        faults=(),
    )


def _shown_late(random: Random, plan: Plan) -> Plan:
    """What an attempt shows arrives when another worker shows its own attempt of the step."""
    at = random.uniform(7, 12)
    late = Fault(
        at=at,
        kind=random.choice(("hang", "freeze")),
        worker=random.randrange(2),
        seconds=random.uniform(8, 13),
    )
    return replace(
        plan,
        workers=2,
        slots=100,
        longest=3.0,
        dedupe_seconds=60.0,
        crowd=None,
        opening=Opening(),
        runs=tuple(
            run_once(f"run{number}", random.uniform(at - 2.5, at), random, most=3)
            for number in range(6)
        ),
        faults=(late,),
        calling=Calling(tokens=6),
    )


def _requests_come_late(random: Random, plan: Plan) -> Plan:
    """Requests of transactions fail all the time, and workers are frozen between two of them."""
    pauses = tuple(
        Fault(
            at=random.uniform(5, 20),
            kind="pause",
            worker=random.randrange(2),
            seconds=random.uniform(7, 12),
            request=random.choice(("renew", "end")),
            count=random.randint(0, 5),
            when=random.choice(("before", "after")),
        )
        for _ in range(random.choice((0, 2, 4)))
    )
    return replace(
        plan,
        workers=2,
        slots=100,
        longest=0.5,
        dedupe_seconds=60.0,
        crowd=None,
        opening=Opening(),
        refusal=0,
        wire=Wire(breaks=0.3, moved_at=(), away_seconds=0.0, expired_at=()),
        runs=tuple(
            run_once(f"run{number}", random.uniform(5, 22), random, parts=3) for number in range(12)
        ),
        faults=pauses,
    )


THEMES: tuple[Callable[[Random, Plan], Plan], ...] = (
    _old_copy_returns,
    _frozen_while_loading,
    _events_outlive_their_run,
    _opened_amid_rebalances,
    _crowded_loop,
    _shown_late,
    _requests_come_late,
)
