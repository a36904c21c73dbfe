"""The context on a real broker: edits around a kill, and what a caller reads of it."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import faust
import pytest
from tally_flow import Tally, TallyFlow
from workers import WorkerProcess

from fleet import WorkflowHandler, connect
from fleet.client.run_context import ReadOnlyContext
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker

pytestmark = pytest.mark.kafka

PAGES = 150


class Place:
    """A prefix of its own, and its workers."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        self.prefix = f"tally{uuid4().hex[:8]}"
        self.workers: list[WorkerProcess] = []

    @property
    def settings(self) -> Settings:
        return Settings(broker=self.broker.address, prefix=self.prefix, data_dir=self.folder)

    @property
    def gate(self) -> Path:
        """While it is not there, the second half of the pages waits."""
        return self.folder / "gate"

    def worker(self) -> WorkerProcess:
        self.workers.append(
            WorkerProcess(
                "tally_flow",
                self.folder / f"worker-{len(self.workers)}.log",
                FLEET_BROKER=self.broker.address,
                FLEET_PREFIX=self.prefix,
                FLEET_DATA_DIR=str(self.folder),
                TALLY_GATE=str(self.gate),
            )
        )
        return self.workers[-1]


@pytest.fixture
def place(kafka_broker: Broker, tmp_path: Path) -> Iterator[Place]:
    made = Place(kafka_broker, tmp_path)
    yield made
    for worker in made.workers:
        worker.stop()


async def until_done(handler: WorkflowHandler[Any], number: int) -> int:
    """Return how many pages are done, once that is *number* or more."""
    while True:
        done: int = await handler.ctx.store.get("done")
        if done >= number:
            return done
        await asyncio.sleep(0.05)


def check(state: Tally, pages: int) -> None:
    """Every page has counted once, with a number of its own; all is of its type."""
    assert (state.pages, state.done) == (pages, pages)
    assert state.begun == datetime(2026, 1, 2, tzinfo=UTC)
    assert sorted(state.tickets.values()) == list(range(1, pages + 1))
    assert sorted(map(int, state.tickets)) == list(range(pages))


@pytest.mark.timeout(120)
async def test_each_edit_counts_once_around_a_kill(place: Place) -> None:
    """A worker dies in the middle of the edits; the caller reads them all the while."""
    worker = place.worker()
    async with connect(TallyFlow, settings=place.settings, timeout=100) as flow:
        handler = flow.run(pages=PAGES)
        await until_done(handler, PAGES // 5)
        assert await handler.ctx.running_steps() == ["page"]
        worker.kill()
        assert PAGES // 5 <= await handler.ctx.store.get("done") <= PAGES // 2
        place.worker()
        place.gate.touch()
        assert await handler == PAGES
        check(await handler.ctx.store.get_state(), PAGES)
        assert await handler.ctx.running_steps() == []
        with pytest.raises(ReadOnlyContext):
            await handler.ctx.store.set("done", 0)
        # Another caller, who has only the id.
        again = flow.run(pages=PAGES, run_id=handler.run_id)
        assert await again == PAGES
        check(await again.ctx.store.get_state(), PAGES)


@pytest.mark.timeout(60)
async def test_a_failed_run_keeps_its_context(place: Place) -> None:
    """Until it is forgotten a caller reads it."""
    place.worker()
    place.gate.touch()
    async with connect(TallyFlow, settings=place.settings, timeout=50) as flow:
        handler = flow.run(pages=20, fails=True)
        with pytest.raises(LookupError):
            await handler
        check(await handler.ctx.store.get_state(), 20)


@pytest.mark.timeout(60)
async def test_an_embedded_run_is_read_in_the_same_way(
    kafka_broker: Broker, tmp_path: Path
) -> None:
    """Worker and caller are one process, and the context is read from the broker."""
    name = f"tally-{uuid4().hex[:8]}"
    app = faust.App(name, broker=kafka_broker.address, datadir=str(tmp_path))
    handler = TallyFlow(app=app, timeout=50).run(pages=20)
    await until_done(handler, 1)
    assert await handler == 20
    check(await handler.ctx.store.get_state(), 20)
