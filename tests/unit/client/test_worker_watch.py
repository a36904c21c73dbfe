"""A caller that hears of no start asks who is there, and says so."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from aiokafka.errors import GroupAuthorizationFailedError

from fleet.client import worker_watch
from fleet.client.worker_watch import WorkerWatch


class Broker:
    """Says how many members a group has."""

    def __init__(self) -> None:
        self.members = 0
        self.failure: Exception | None = None
        self.asked = asyncio.Semaphore(0)

    async def count(self, group: str) -> int:
        assert group == "fleet.joke.main"
        self.asked.release()
        if self.failure is not None:
            raise self.failure
        return self.members


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """A broker, and watches that need no patience."""
    monkeypatch.setattr(worker_watch, "SILENT_SECONDS", 0.001)
    monkeypatch.setattr(worker_watch, "AGAIN_SECONDS", 0.001)
    return Broker()


@pytest.fixture
async def watch(broker: Broker) -> AsyncIterator[WorkerWatch]:
    """A watch that is stopped."""
    made = WorkerWatch("fleet.joke.main", broker.count)
    yield made
    made.stop()


async def until_asked(broker: Broker, times: int) -> None:
    """Return when the broker was asked so often, from now on."""
    async with asyncio.timeout(10):
        for _ in range(times):
            await broker.asked.acquire()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings of callers."""
    return [str(each.msg) for each in caplog.records if each.levelno == logging.WARNING]


async def test_an_empty_group_is_said_once(
    watch: WorkerWatch, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """With what to start, at what prefix; and again only if workers were there meanwhile."""
    watch.sent("a")
    await until_asked(broker, 4)
    [line] = said(caplog)
    assert "No worker of the step group fleet.joke.main is there: start one with" in line
    assert "FLEET_PREFIX=fleet" in line
    assert watch.advice.endswith("with FLEET_PREFIX=fleet. The run stays queued.")
    broker.members = 2
    await until_asked(broker, 3)
    assert "has 2 workers and none has answered: `fleet lag` shows" in watch.advice
    broker.members = 0
    await until_asked(broker, 3)
    assert len(said(caplog)) == 2


async def test_asking_ends_with_the_last_start(watch: WorkerWatch, broker: Broker) -> None:
    """And begins again with the next."""
    watch.sent("a")
    await until_asked(broker, 1)
    watch.dropped("a")
    [asking] = [each for each in asyncio.all_tasks() if each.get_name() == "fleet workers"]
    await asyncio.wait_for(asking, 10)
    watch.sent("b")
    await until_asked(broker, 1)


async def test_a_broker_that_does_not_say_changes_nothing(
    watch: WorkerWatch, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the question is not allowed nothing is claimed."""
    broker.failure = GroupAuthorizationFailedError()
    watch.sent("a")
    await until_asked(broker, 3)
    assert said(caplog) == []
    assert "has answered; is one running?" in watch.advice


async def test_whoever_waits_hears_that_nobody_is_there(watch: WorkerWatch, broker: Broker) -> None:
    """Only the broker's own word counts, and only until a worker has come."""
    broker.failure = GroupAuthorizationFailedError()
    watch.sent("a")
    await until_asked(broker, 3)
    assert not watch.absent.is_set()
    broker.failure = None
    await asyncio.wait_for(watch.absent.wait(), 10)
    broker.members = 1
    await until_asked(broker, 3)
    assert not watch.absent.is_set()
    broker.members = 0
    await asyncio.wait_for(watch.absent.wait(), 10)
    watch.answered("a")
    assert not watch.absent.is_set()
