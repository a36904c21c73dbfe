"""Stopping Kafka's clients: it ends, whatever the client does."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from fleet.kafka import stopping
from fleet.kafka.stopping import end_fetching, stop_client


class Fetcher:
    """A fetch loop that takes so many cancellations for its requests'."""

    def __init__(self, deaf: int) -> None:
        self._deaf = deaf
        self._pending_tasks = {asyncio.create_task(self._fail())}
        self._fetch_task = asyncio.create_task(self._loop())

    async def _loop(self) -> None:
        for _ in range(self._deaf):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def _fail(self) -> None:
        raise LookupError


@pytest.mark.parametrize("deaf", [0, 1, 3])
async def test_a_fetch_loop_that_swallows_cancellations_ends(deaf: int) -> None:
    """It is cancelled until it ends; what its requests raise is nobody's."""
    consumer: Any = SimpleNamespace(_fetcher=Fetcher(deaf))
    await asyncio.sleep(0)

    await end_fetching(consumer)

    assert consumer._fetcher._fetch_task.done()
    assert not consumer._fetcher._pending_tasks


async def test_a_client_that_never_stops_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stops it goes on."""
    monkeypatch.setattr(stopping, "STOP_SECONDS", 0.01)
    await stop_client(asyncio.Event().wait)


async def test_a_client_that_fails_to_stop_stops_nobody() -> None:
    """Nobody wants anything of it any more."""

    async def fail() -> None:
        raise LookupError

    await stop_client(fail)


async def test_whoever_is_cancelled_leaves_no_client_open() -> None:
    """The client is stopped all the same."""
    may_end, stopped = asyncio.Event(), asyncio.Event()

    async def stop() -> None:
        await may_end.wait()
        stopped.set()

    stopping_it = asyncio.create_task(stop_client(stop))
    await asyncio.sleep(0)
    stopping_it.cancel()
    await asyncio.gather(stopping_it, return_exceptions=True)
    may_end.set()

    await asyncio.wait_for(stopped.wait(), 5)
