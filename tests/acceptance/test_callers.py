"""
A connection whose broker freezes, and streams that are read while other runs begin.

FLEET_TEST_FROZEN_SECONDS sets how long the broker is frozen: longer than the 40 seconds after which
aiokafka gives a request up, else it proves nothing.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from token_flow import Ask, Token, TokenFlow, Told
from workers import WorkerProcess

from fleet import Event, WorkflowHandler, connect
from fleet.client.connection import Connection
from fleet.config.settings import Settings
from fleet.dev import kafka
from fleet.dev.kafka import LocalBroker

pytestmark = pytest.mark.kafka

FROZEN_SECONDS = float(os.environ.get("FLEET_TEST_FROZEN_SECONDS", "45"))
TIMEOUT_SECONDS = 300.0
RUNS, STREAMS = 200, 50


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    """A broker of its own, which may be frozen."""
    with kafka.embedded() as broker:
        assert isinstance(broker, LocalBroker)
        yield broker


@pytest.fixture
async def flow(broker: LocalBroker, tmp_path: Path) -> AsyncIterator[Connection[Told]]:
    """A connection to a worker that has answered once."""
    settings = Settings(broker=broker.address, prefix="callers", data_dir=tmp_path, partitions=16)
    worker = WorkerProcess(
        "token_flow",
        tmp_path / "worker.log",
        FLEET_BROKER=broker.address,
        FLEET_PREFIX="callers",
        FLEET_DATA_DIR=str(tmp_path),
        FLEET_PARTITIONS="16",
    )
    try:
        async with connect(TokenFlow, settings=settings, timeout=TIMEOUT_SECONDS) as flow:
            await flow.run(Ask(tokens=1, pause_seconds=0))
            yield flow
    finally:
        worker.stop()


async def shown(handler: WorkflowHandler[Told]) -> list[Event]:
    """Read a run's stream to its end."""
    return [event async for event in handler.stream_events()]


def faults(events: list[Event]) -> list[str]:
    """Return what is wrong with a stream: tokens that are repeated, missing or out of order."""
    numbers: dict[str, list[int]] = {}
    for event in events:
        if isinstance(event, Token):
            numbers.setdefault(event.attempt, []).append(event.number)
    found = [
        f"attempt {attempt} shows {several}"
        for attempt, several in numbers.items()
        if several != list(range(len(several)))
    ]
    told = events[-1] if events else None
    if not isinstance(told, Told):
        return [*found, f"ends with {told!r}"]
    if len(numbers.get(told.attempt, ())) != told.tokens:
        found.append(f"{numbers.get(told.attempt)} of {told.tokens} tokens")
    return found


async def ends(handlers: list[WorkflowHandler[Told]], seconds: float) -> list[object]:
    """Return what each run ends with; "nothing" where that takes too long."""
    waiting = [asyncio.ensure_future(handler) for handler in handlers]
    await asyncio.wait(waiting, timeout=seconds)
    return [((each.exception() or each.result()) if each.done() else "nothing") for each in waiting]


def begin(flow: Connection[Told], runs: int, tokens: int) -> list[WorkflowHandler[Told]]:
    """Start runs that show a token ten times a second."""
    return [flow.run(Ask(tokens=tokens, pause_seconds=0.1)) for _ in range(runs)]


def told(found: list[object]) -> dict[str, int]:
    """Count the runs by what they ended with."""
    names = [type(each).__name__ if each != "nothing" else "nothing" for each in found]
    return {name: names.count(name) for name in set(names)}


@pytest.mark.timeout(900)
async def test_a_frozen_broker_ends_no_run_of_a_connection(
    flow: Connection[Told], broker: LocalBroker
) -> None:
    """Neither those that were open nor those that begin on it later."""
    handlers = begin(flow, RUNS, tokens=60)
    streams = [asyncio.create_task(shown(each)) for each in handlers[:STREAMS]]
    await asyncio.sleep(3)
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        late = begin(flow, 10, tokens=1)
        await asyncio.sleep(FROZEN_SECONDS)
    finally:
        os.kill(broker.pid, signal.SIGCONT)
    first = await ends(handlers, TIMEOUT_SECONDS)
    during = await ends(late, TIMEOUT_SECONDS)
    after = await ends(begin(flow, RUNS, tokens=2), 120)
    streamed = [
        faults(each.result()) if each.done() else ["still read"]
        for each in (await asyncio.wait(streams, timeout=30), streams)[1]
    ]
    found = {"open": told(first), "while frozen": told(during), "afterwards": told(after)}
    assert str(found) == str(
        {
            "open": {"Told": RUNS},
            "while frozen": {"Told": len(late)},
            "afterwards": {"Told": RUNS},
        }
    )
    assert [each for each in streamed if each] == []


@pytest.mark.timeout(300)
async def test_streams_are_read_exactly_once_while_other_runs_begin(
    flow: Connection[Told],
) -> None:
    """A partition that begins to be followed moves no other one's position."""
    handlers, streams = [], []
    for _ in range(100):
        [handler] = begin(flow, 1, tokens=50)
        handlers.append(handler)
        streams.append(asyncio.create_task(shown(handler)))
        await asyncio.sleep(0.02)
    assert told(await ends(handlers, 120)) == {"Told": 100}
    found = [faults(each) for each in await asyncio.gather(*streams)]
    assert [each for each in found if each] == []
