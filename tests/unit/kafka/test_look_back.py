"""Parts of a log that a caller reads again: pages of streams, and what is gone."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from fleet.kafka.calling import look_back
from fleet.kafka.calling.look_back import LookBack
from fleet.workflow.errors import WorkflowRuntimeError

TP = TopicPartition("stream", 0)


class Consumer:
    """Of a partition with a record of each of two runs in turn."""

    def __init__(self, clients: "Clients") -> None:
        self._clients = clients
        self._position = 0

    async def start(self) -> None:
        self._clients.started += 1

    async def stop(self) -> None:
        self._clients.stopped += 1

    def assign(self, tps: list[TopicPartition]) -> None:
        """There is one."""

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._position = offset

    def pause(self, tp: TopicPartition) -> None:
        """Nothing more is asked for."""

    async def position(self, tp: TopicPartition) -> int:
        return self._position

    async def beginning_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, self._clients.begin)

    async def getmany(self, *tps: TopicPartition, **_: Any) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0)
        await self._clients.may_read.wait()
        first = max(self._position, self._clients.begin)
        self._position = first + 10
        self._clients.reads.append(first)
        return {TP: [record(offset) for offset in range(first, first + 10)]}


class Clients:
    """Makes consumers, and counts them."""

    def __init__(self) -> None:
        self.started = self.stopped = self.begin = 0
        self.reads: list[int] = []
        self.may_read = asyncio.Event()
        self.may_read.set()

    def reader(self, **_: Any) -> Any:
        return Consumer(self)


def record(offset: int) -> Any:
    key = b"ab"[offset % 2 :][:1]
    return SimpleNamespace(
        topic=TP.topic,
        partition=0,
        offset=offset,
        timestamp=0,
        key=key,
        value=b"",
        headers=(),
    )


@pytest.fixture
def clients() -> Clients:
    return Clients()


@pytest.fixture
async def past(clients: Clients) -> AsyncIterator[LookBack]:
    made = LookBack(clients, TP.topic)  # type: ignore[arg-type]
    yield made
    await made.stop()


async def test_a_page_has_one_runs_records_and_says_where_the_log_begins(
    past: LookBack, clients: Clients
) -> None:
    clients.begin = 3
    page = await past.page(0, b"a", 0, 8)
    assert [one.offset for one in page.records] == [4, 6]
    assert page.begin == 3


async def test_readers_of_one_page_read_it_once(past: LookBack, clients: Clients) -> None:
    """However many runs of a partition are read again."""
    pages = await asyncio.gather(*(past.page(0, key, 0, 10) for key in (b"a", b"b", b"a")))
    assert [len(page.records) for page in pages] == [5, 5, 5]
    assert clients.reads == [0]


async def test_it_stays_connected_from_page_to_page(past: LookBack, clients: Clients) -> None:
    """To connect costs more than to read one."""
    for first in (0, 10, 20):
        await past.page(0, b"a", first, first + 10)
    assert (clients.started, clients.reads) == (1, [0, 10, 20])


async def test_it_disconnects_when_no_page_is_wanted(
    past: LookBack, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look_back, "_LINGER_SECONDS", 0.0)
    await past.page(0, b"a", 0, 10)
    assert past._reading is not None
    await past._reading
    assert clients.stopped == 1


async def test_who_waits_when_it_stops_hears_that_the_connection_was_closed(
    past: LookBack, clients: Clients
) -> None:
    """And who asks later: a cancelled wait would look like a cancelled task."""
    clients.may_read.clear()
    waiting = asyncio.ensure_future(past.page(0, b"a", 0, 10))
    await asyncio.sleep(0)
    await past.stop()
    for asked in (waiting, past.page(0, b"a", 0, 10)):
        with pytest.raises(WorkflowRuntimeError, match="the connection was closed"):
            await asked
