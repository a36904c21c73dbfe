"""Which partitions a process owns, and when it serves all of them."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from fleet.host.host import Host
from fleet.records.topics import Topics

TOPICS = Topics("p", "flow", "main")
RUNS, ADDED = TP("p.flow.runs", 0), TP("p.flow.Added", 1)


class RecordingEngine:
    """Notes which partitions it was to own, and how long they were not served."""

    topics = TOPICS
    inputs = frozenset(TOPICS.consumed(["Added"]))
    ready = True
    troubles: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.tasks: dict[int, Any] = {}
        self.stalls: list[float] = []
        self.observer = SimpleNamespace(rebalanced=lambda: None, served_again=self.stalls.append)

    async def assign(self, partitions: Iterable[int]) -> None:
        self.tasks = dict.fromkeys(partitions, object())

    def revoked(self) -> None:
        """Take no id meanwhile."""


def hosted() -> tuple[Host, RecordingEngine]:
    host, engine = Host(), RecordingEngine()
    host.engines.add(engine)  # type: ignore[arg-type]
    return host, engine


async def test_a_partition_is_owned_with_its_runs_only() -> None:
    """A leader of an older version gives a new topic to a member that has not `runs` of it."""
    host, engine = hosted()

    await host.assignment.assign([RUNS, ADDED, TP("native", 1)])

    assert engine.tasks.keys() == {0}
    assert list(host.assignment.owned()) == [RUNS]


async def test_a_partition_that_is_not_owned_holds_up_no_readiness() -> None:
    """It is never taken, so nothing waits for it."""
    host, engine = hosted()
    host.assignment.revoked()
    await host.assignment.assign([RUNS, ADDED])

    host.live.begin([RUNS])
    host.assignment.served([RUNS, ADDED])

    assert len(engine.stalls) == 1
    assert host.assignment.unready == ""


async def test_a_worker_is_not_ready_before_it_takes_records_again() -> None:
    """From the rebalance on, until every partition that it owns is live."""
    host, engine = hosted()
    before = host.assignment.unready
    await host.assignment.assign([RUNS])
    host.assignment.revoked()
    await host.assignment.assign([RUNS])
    host.assignment.served([RUNS])

    assert (before, engine.stalls) == ("no partition was assigned yet", [])
    assert host.assignment.unready == "a rebalance is under way"


async def test_a_rebalance_takes_nothing_until_partitions_were_sought_to() -> None:
    """Faust seeks to the group's offsets, which may lie beyond what a task has not seen."""
    host, _ = hosted()
    host.live.begin([RUNS])
    host.assignment.revoked()
    revoked = list(host.live)
    host.live.begin([RUNS])
    await host.assignment.assign([RUNS])

    assert (revoked, list(host.live)) == ([], [])


async def test_a_worker_that_stops_owns_nothing_new() -> None:
    """A rebalance while it drains gives it partitions that it would begin work for."""
    host, engine = hosted()
    host.assignment.stop()

    await host.assignment.assign([RUNS])

    assert engine.tasks == {}
    assert host.assignment.unready == "the worker is stopping"
