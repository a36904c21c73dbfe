"""Opening a task: what may pass is tried again, what may not is raised."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Self

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    TransactionalIdAuthorizationFailed,
)

from fleet.engine.loading import opening as module
from fleet.engine.loading.guarded_store import GuardedStore, StoreFailed
from fleet.engine.loading.opening import Opening, Site
from fleet.engine.log import TaskLost
from fleet.kafka.backend import KafkaBackend


class Loader:
    """A reader that reads nothing."""

    discarded = ""
    remaining = 0
    place = ("", 0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""


class Log:
    """A log that starts when it may."""

    def __init__(self, failures: list[Exception]) -> None:
        self._failures = failures
        self.closed = False

    async def start(self) -> None:
        await asyncio.sleep(0)
        if self._failures:
            raise self._failures.pop(0)

    async def close(self) -> None:
        self.closed = True


class Store:
    """A local store that can be opened when it may, and fails when it is told."""

    def __init__(self) -> None:
        self.failing = False
        self.reason = "Corruption: block checksum mismatch"
        self.closed = False

    def get(self, key: bytes) -> bytes | None:
        if self.failing:
            raise RuntimeError(self.reason)
        return key

    def close(self) -> None:
        self.closed = True


class Place:
    """An engine with one partition, as an opening sees it."""

    def __init__(self) -> None:
        self.wanted = True
        self.start_failures: list[Exception] = []
        self.load_failures: list[Exception] = []
        self.store_failures: list[Exception] = []
        self.logs: list[Log] = []
        self.stores: list[Store] = []
        self.tasks: list[Any] = []
        self.discarded = 0
        self.words: list[str] = []
        backend: Any = SimpleNamespace(
            failures=KafkaBackend.failures,
            refusals=KafkaBackend.refusals,
            log=self._log,
            loader=lambda _partition: Loader(),
            store=self._store,
            discard=self._discard,
        )
        make: Any = self._task
        self.site = Site(
            backend, lambda _partition: self.wanted, make, self._load, self.words.append
        )

    def opening(self) -> Opening:
        return Opening(self.site, 0, "fleet.joke.main-0", doubts=0)

    def _log(self, _name: str, _partition: int) -> Log:
        self.logs.append(Log(self.start_failures))
        return self.logs[-1]

    def _store(self, _partition: int) -> Store:
        if self.store_failures:
            raise self.store_failures.pop(0)
        self.stores.append(Store())
        return self.stores[-1]

    def _discard(self, _partition: int) -> None:
        assert all(store.closed for store in self.stores), "removed while it is open"
        self.discarded += 1

    def _task(self, partition: int, log: Log, store: GuardedStore) -> Any:
        failures: list[Exception] = []
        task = SimpleNamespace(
            partition=partition, log=log, store=store, broken=failures.append, failures=failures
        )
        self.tasks.append(task)
        return task

    async def _load(self, task: Any, loader: Any, store: GuardedStore) -> int:
        await asyncio.sleep(0)
        if self.load_failures:
            raise self.load_failures.pop(0)
        return 7


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_SECONDS", 0.001)


@pytest.mark.parametrize("failure", [KafkaTimeoutError(), KafkaConnectionError(), OSError()])
async def test_a_broker_that_does_not_answer_is_asked_again(failure: Exception) -> None:
    """Each time with a new producer; those before are closed."""
    place = Place()
    place.start_failures = [failure, failure]

    task: Any = await place.opening().run()

    assert [log.closed for log in place.logs] == [True, True, False]
    assert task.log is place.logs[-1]


async def test_a_load_that_fails_begins_again_with_a_new_task() -> None:
    """Half of what a task was told is not told to it twice; the store keeps what it has."""
    place = Place()
    place.load_failures = [KafkaTimeoutError()]
    opening = place.opening()

    task: Any = await opening.run()

    assert place.tasks == [place.tasks[0], task]
    assert len(place.stores) == 1
    assert not opening.trouble


async def test_what_keeps_a_task_from_loading_is_told() -> None:
    """For `/ready`: an operator sees why a partition is not served."""
    place = Place()
    place.load_failures = [KafkaTimeoutError("no leader")]
    opening = place.opening()
    running = asyncio.create_task(opening.run())

    while not opening.trouble:  # noqa: ASYNC110 - the opening tells nobody
        await asyncio.sleep(0)
    assert opening.trouble == "KafkaTimeoutError: KafkaTimeoutError: no leader"

    await running


@pytest.mark.parametrize("stage", ["start_failures", "load_failures"])
async def test_a_refusal_is_raised(stage: str) -> None:
    """Trying again does not change what the broker allows."""
    place = Place()
    setattr(place, stage, [TransactionalIdAuthorizationFailed()])

    with pytest.raises(TransactionalIdAuthorizationFailed):
        await place.opening().run()


async def test_an_id_that_is_not_wanted_any_more_is_given_up() -> None:
    """The partition went elsewhere while the id was taken: no task, and nothing stays open."""
    place = Place()
    opening = place.opening()
    running = asyncio.create_task(opening.run())
    await asyncio.sleep(0)
    place.wanted = False

    assert await running is None
    assert [log.closed for log in place.logs] == [True]
    assert not place.tasks


async def test_an_opening_that_is_cancelled_leaves_nothing_open() -> None:
    """Whenever that is before it has made a task; then the task holds the log."""
    place = Place()
    running = asyncio.create_task(place.opening().run())
    await asyncio.sleep(0)
    running.cancel()

    await asyncio.gather(running, return_exceptions=True)
    assert [log.closed for log in place.logs] == [True]


async def test_a_state_that_cannot_be_opened_is_removed() -> None:
    """It is a copy of the changelog, and is loaded from there."""
    place = Place()
    place.store_failures = [StoreFailed("open", "Corruption: CURRENT file corrupted")]

    assert await place.opening().run() is not None
    assert place.discarded == 1


async def test_a_state_that_breaks_while_it_is_loaded_is_removed() -> None:
    """It is closed before, and another one is loaded from the beginning."""
    place = Place()
    place.load_failures = [StoreFailed("write", "IO error: No such file or directory")]

    task: Any = await place.opening().run()

    assert (place.discarded, place.words) == (1, ["corrupt"])
    assert [store.closed for store in place.stores] == [True, False]
    assert len(place.tasks) == 2
    assert task is place.tasks[-1]


@pytest.mark.parametrize("reason", ["No space left on device", "Permission denied"])
async def test_a_state_that_cannot_be_got_at_is_kept(reason: str) -> None:
    """It is closed and opened again, and nobody removes it."""
    place = Place()
    place.store_failures = [StoreFailed("open", f"IO error: {reason}: While open a file")]
    place.load_failures = [StoreFailed("write", f"IO error: {reason}: While appending to file")]

    assert await place.opening().run() is not None

    assert (place.discarded, place.words) == (0, [])
    assert [store.closed for store in place.stores] == [True, False]


async def test_a_state_that_cannot_be_got_at_while_its_task_runs_is_kept() -> None:
    """The task ends all the same, and is opened again on what is there."""
    place = Place()
    task: Any = await place.opening().run()
    place.stores[0].reason = "IO error: No space left on device: While appending to file"
    place.stores[0].failing = True

    with pytest.raises(StoreFailed, match=r"it is kept.*free space of FLEET_DATA_DIR"):
        task.store.get(b"key")
    assert [type(each) for each in task.failures] == [StoreFailed]

    task.store.close()
    assert await place.opening().run() is not None
    assert place.discarded == 0


async def test_a_log_that_is_lost_while_it_is_loaded_is_a_lost_task() -> None:
    """Somebody has taken the id: it is opened again as any lost task is."""
    place = Place()
    place.load_failures = [TaskLost("fleet.joke.main-0", "fenced")]

    assert await place.opening().run() is None
    assert [type(each) for each in place.tasks[0].failures] == [TaskLost]


async def test_a_state_that_breaks_while_its_task_runs_ends_the_task() -> None:
    """Whoever touched it: the task hears it before. The next opening begins without that state."""
    place = Place()
    task: Any = await place.opening().run()
    place.stores[0].failing = True

    with pytest.raises(StoreFailed):
        task.store.get(b"key")
    assert [type(each) for each in task.failures] == [StoreFailed]
    assert "Corruption: block checksum mismatch" in str(task.failures[0])

    task.store.close()
    assert await place.opening().run() is not None
    assert place.discarded == 1


@pytest.mark.parametrize(
    "chosen", [lambda place: place.start_failures, lambda place: place.load_failures]
)
async def test_pauses_grow(
    chosen: Callable[[Place], list[Exception]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that comes back is not met by a crowd."""
    paused: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        if seconds:
            paused.append(seconds)
        await sleep(0)

    place = Place()
    chosen(place).extend([KafkaTimeoutError()] * 20)
    monkeypatch.setattr(asyncio, "sleep", note)
    await place.opening().run()

    assert paused[:3] == [0.001, 0.002, 0.004]
    assert paused[-1] == 5.0
