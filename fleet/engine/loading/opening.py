"""
Opening a task: from the assignment of its partition until it can take records.

First the transactional id is taken, which fences the previous owner; then the local state is
opened; then the changelog and `runs` are read. A broker that does not answer and a local state that
is broken are tried again for as long as the partition is wanted, and said in the log and by
`/ready`. What trying again cannot change is raised: it ends the worker.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from fleet.config import logs
from fleet.engine.loading.guarded_store import GuardedStore, StoreFailed
from fleet.engine.log import TaskLost
from fleet.engine.ports import Backend, Loader, StateStillOpen, TaskLog
from fleet.engine.task import Task

#: How long taking the transactional id may last before it is tried with a new connection, in
#: seconds. The broker decides what a predecessor left open within its transaction timeout.
TAKE_SECONDS = 60.0
#: How long a store of this process may stay open that a predecessor closes, in seconds.
STILL_OPEN_SECONDS = 30.0
#: Pauses between tries: the first, and the longest, in seconds.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0

#: What may pass by itself, beside what the backend's logs and loaders raise.
_PASSING = (OSError, TimeoutError, StoreFailed, StateStillOpen)

_log = logs.get_logger("opening")


@dataclass(frozen=True, slots=True)
class Site:
    """What the openings of one engine share with it."""

    backend: Backend
    #: Whether a partition is to have a task in this process.
    wanted: Callable[[int], bool]
    #: Makes the task of a partition, and shows it to the engine.
    task: Callable[[int, TaskLog, GuardedStore], Task]
    #: Reads what a task needs; returns how many records of its state that took.
    load: Callable[[Task, Loader, GuardedStore], Awaitable[int]]
    #: Hears why a local state was thrown away, in a word.
    discarded: Callable[[str], object]
    #: Partitions whose local state is corrupt.
    spoiled: set[int] = field(default_factory=set)


class Opening:
    """One partition until its task can take records."""

    def __init__(self, site: Site, partition: int, name: str, doubts: int) -> None:
        self.partition = partition
        self.name = name
        #: How often ownership was in doubt when it began.
        self.doubts = doubts
        #: Why it makes no progress; empty while it does, as far as is known.
        self.trouble = ""
        #: Records of the state that were read.
        self.records = 0
        #: The transactional id was taken, or that has failed once.
        self.tried = asyncio.Event()
        self.running: asyncio.Task[None] | None = None
        self._site = site
        self._passing: tuple[type[Exception], ...] = (*site.backend.failures, *_PASSING)
        self._loader: Loader | None = None
        self._store: GuardedStore | None = None
        self._task: Task | None = None
        self._began = asyncio.get_running_loop().time()

    @property
    def remaining(self) -> int:
        """Offsets before the end of what is being read."""
        return self._loader.remaining if self._loader is not None else 0

    @property
    def place(self) -> object:
        """How far it is, to tell whether it makes progress.

        None while it waits for its id, as for a transaction that hangs, or for its local state:
        there the broker is not to blame.
        """
        return self._loader.place if self._loader is not None else None

    async def run(self) -> Task | None:
        """Return the task, loaded; None if the partition is not wanted any more."""
        log = await self._take_id()
        if log is None:
            return None
        try:
            return await self._loaded(log)
        except TaskLost as lost:
            # Another worker has taken the id meanwhile. The task is opened again as any lost one.
            assert self._task is not None, "a task asks, and no opening"
            self._task.broken(lost)
            return None
        finally:
            if self._task is None:
                await log.close()

    async def _take_id(self) -> TaskLog | None:
        for seconds in _pauses():
            if not self._site.wanted(self.partition):
                return None
            log, taken = self._site.backend.log(self.name, self.partition), False
            try:
                async with asyncio.timeout(TAKE_SECONDS):
                    await log.start()
                # After a rebalance in between, its owner finds the log lost and begins again. This
                # worker must not continue with it.
                taken = self._site.wanted(self.partition)
            except self._passing as failure:
                self._note(failure)
            finally:
                self.tried.set()
                if not taken:
                    await log.close()
            if taken:
                return log
            await asyncio.sleep(seconds)
        raise AssertionError("pauses have no end")

    async def _loaded(self, log: TaskLog) -> Task:
        if self.partition in self._site.spoiled:
            self._discard("it was found to be corrupt while its task ran")
        for seconds in _pauses():
            try:
                return await self._load(log)
            except self._passing as failure:
                self._note(failure)
                if isinstance(failure, StoreFailed):
                    self._let_go(failure)
            await asyncio.sleep(seconds)
        raise AssertionError("pauses have no end")

    async def _load(self, log: TaskLog) -> Task:
        if self._store is None:
            self._store = GuardedStore(self._site.backend.store(self.partition))
        # A new one each time: what half a load has told a task is not to be told twice.
        task = self._task = self._site.task(self.partition, log, self._store)
        self._loader = self._site.backend.loader(self.partition)
        async with self._loader:
            self.records += await self._site.load(task, self._loader, self._store)
        if self._loader.discarded:
            self._site.discarded(self._loader.discarded)
        self.trouble = ""
        self._store.on_failure = lambda failure: self._spoil(task, failure)
        return task

    def _spoil(self, task: Task, failure: StoreFailed) -> None:
        if failure.corrupt:
            self._site.spoiled.add(self.partition)
        task.broken(failure)

    def _note(self, failure: Exception) -> None:
        """Say what has failed; raise it if trying again cannot help."""
        waited = asyncio.get_running_loop().time() - self._began
        still_open = isinstance(failure, StateStillOpen) and waited > STILL_OPEN_SECONDS
        if isinstance(failure, self._site.backend.refusals) or still_open:
            raise failure
        self.trouble = f"{type(failure).__name__}: {failure}".rstrip(": ")
        _log.warning("task_not_loaded", task=self.name, reason=self.trouble)

    def _let_go(self, failure: StoreFailed) -> None:
        """Close what has failed: it is opened again, or built again if it is corrupt."""
        if failure.corrupt:
            self._discard(str(failure))
        else:
            self._close_store()

    def _close_store(self) -> None:
        store, self._store, self._loader = self._store, None, None
        if store is not None:
            store.close()

    def _discard(self, reason: str) -> None:
        _log.warning("state_discarded", task=self.name, reason=reason)
        self._site.discarded("corrupt")
        self._close_store()
        # What cannot be removed cannot be opened either: that is reported then.
        with contextlib.suppress(OSError):
            self._site.backend.discard(self.partition)
            self._site.spoiled.discard(self.partition)


def _pauses() -> Iterator[float]:
    seconds = _FIRST_PAUSE_SECONDS
    while True:
        yield seconds
        seconds = min(2 * seconds, _LONGEST_PAUSE_SECONDS)
