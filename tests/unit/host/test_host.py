"""Which partitions a host takes for its own."""

from collections.abc import Iterable
from typing import Any

from faust.types import TP

from fleet.host.partitions import Host
from fleet.records.topics import Topics

TOPICS = Topics("p", "flow", "main")


class RecordingEngine:
    """Notes which partitions it was to own."""

    topics = TOPICS
    inputs = frozenset(TOPICS.consumed(["Added"]))

    def __init__(self) -> None:
        self.tasks: dict[int, Any] = {}

    async def assign(self, partitions: Iterable[int]) -> None:
        self.tasks = dict.fromkeys(partitions, object())


async def test_a_partition_is_owned_with_its_runs_only() -> None:
    """A leader of an older version gives a new topic to a member that has not `runs` of it."""
    host, engine = Host(), RecordingEngine()
    host.add(engine)  # type: ignore[arg-type]

    await host.assign([TP("p.flow.runs", 0), TP("p.flow.Added", 1), TP("native", 1)])

    assert engine.tasks.keys() == {0}
    assert list(host.partitions()) == [TP("p.flow.runs", 0)]


async def test_a_partition_that_is_not_owned_holds_up_no_readiness() -> None:
    """It is never taken, so nobody waits for it."""
    host, engine = Host(), RecordingEngine()
    host.add(engine)  # type: ignore[arg-type]
    assigned = [TP("p.flow.runs", 0), TP("p.flow.Added", 1)]
    await host.assign(assigned)
    host._stalled_since = 0.0
    engine.observer = type("Observer", (), {"served_again": lambda *_: None})()  # type: ignore[attr-defined]

    host.live.add(TP("p.flow.runs", 0))
    host.served(assigned)

    assert host._stalled_since is None
