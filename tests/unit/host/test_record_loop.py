"""The loop that fetches and delivers, one piece at a time, without Faust and a broker."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import IllegalStateError
from faust.types import TP

from fleet.host.hook_check import HookCheck
from fleet.host.host import Host
from fleet.host.record_loop import REACHED_SECONDS, RecordLoop

EVENTS, NATIVE = TP("joke.JokeEvent", 0), TP("words", 0)


class Engine:
    """An engine with one task, which is ready for records from offset 7 on."""

    inputs = frozenset({EVENTS.topic})

    def __init__(self, asked: list[Any]) -> None:
        self.sure = True
        self._asked = asked
        tracker = SimpleNamespace(unseen=7)
        task = SimpleNamespace(
            taking=True,
            trackers={EVENTS.topic: tracker},
            takes=lambda _topic: True,
            intake=SimpleNamespace(reaches=lambda *reached: asked.append(reached)),
        )
        self.tasks = {0: task}
        self.step_group = SimpleNamespace(ownership=SimpleNamespace(heartbeat=lambda: self.sure))

    async def confirm(self) -> None:
        self._asked.append("confirm")


class Thread:
    """Seeks, or tells why it cannot."""

    refuses = False

    def __init__(self, asked: list[Any]) -> None:
        self._asked = asked

    async def seek_wait(self, positions: dict[TP, int]) -> None:
        self._asked.append(dict(positions))
        if self.refuses:
            raise IllegalStateError

    async def stable_ends(self, tps: Any) -> dict[TP, tuple[int, int]]:
        return dict.fromkeys(tps, (7, 9))


class Consumer:
    """What the loop asks of Faust's consumer."""

    flow_active = True

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.now = 100.0
        self.engine = Engine(self.asked)
        self.host = Host()
        self.host.engines.add(self.engine)  # type: ignore[arg-type]
        self.app = SimpleNamespace(rebalancing=False)
        self.loop = SimpleNamespace(time=lambda: self.now)
        self._thread = Thread(self.asked)

    def assignment(self) -> set[TP]:
        return {EVENTS, NATIVE}

    def _to_message(self, tp: TP, record: Any) -> Any:
        return record


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
def loop(consumer: Consumer) -> RecordLoop:
    faked: Any = consumer
    return RecordLoop(faked, HookCheck(consumer, tuple, 1.0))


async def test_records_are_wanted_once_their_partition_was_sought_to(
    consumer: Consumer, loop: RecordLoop
) -> None:
    """A task is read from its own position, whatever the group's offset is."""
    before = loop.wants(EVENTS)
    await loop._go_live()

    assert (before, loop.wants(EVENTS)) == (False, True)
    assert consumer.asked == [{EVENTS: 7}]


async def test_a_partition_that_was_revoked_meanwhile_is_not_live(
    consumer: Consumer, loop: RecordLoop
) -> None:
    """The seek fails; the next round tries again, if the partition is still assigned."""
    consumer._thread.refuses = True
    await loop._go_live()

    assert not loop.wants(EVENTS)


async def test_nothing_is_sought_while_the_flow_is_stopped(
    consumer: Consumer, loop: RecordLoop
) -> None:
    """During a rebalance positions are Faust's to set."""
    consumer.flow_active = False
    await loop._go_live()

    assert consumer.asked == []


async def test_a_process_that_was_silent_asks_before_it_seeks(
    consumer: Consumer, loop: RecordLoop
) -> None:
    """Another worker may have had its partitions meanwhile."""
    consumer.engine.sure = False
    await loop._go_live()

    assert consumer.asked == ["confirm", {EVENTS: 7}]


async def test_nothing_more_is_fetched_for_agents_that_have_a_batch(
    consumer: Consumer, loop: RecordLoop
) -> None:
    """An agent that does not keep up holds its own partition only."""
    before = loop.wants(NATIVE)
    await loop.take(NATIVE, [object()])

    assert (before, loop.wants(NATIVE)) == (True, False)


async def test_tasks_hear_now_and_then_how_far_they_have_read(
    consumer: Consumer, loop: RecordLoop
) -> None:
    """Not in each round, and not in a rebalance."""
    await loop._go_live()
    consumer.asked.clear()
    for seconds, rebalancing in ((0, True), (0, False), (1, False), (REACHED_SECONDS, False)):
        consumer.now += seconds
        consumer.app.rebalancing = rebalancing
        await loop._note_reached()

    assert consumer.asked == [(EVENTS.topic, 7, 9, 0)] * 2
