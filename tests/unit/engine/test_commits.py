"""The commit loop: one at a time, everything that was decided, nothing twice."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from fleet.engine import commits
from fleet.engine.commits import Commits, Committed
from fleet.engine.ledger import Ledger
from fleet.engine.log import Receipt, TaskLost
from fleet.memory.backend import MemoryStore
from fleet.records.log import Outgoing


class Log:
    """Keeps commits, holds them back when told to, and can be lost."""

    def __init__(self) -> None:
        self.commits: list[tuple[list[Outgoing], dict[bytes, bytes | None]]] = []
        self.called = asyncio.Semaphore(0)
        self.proceed = asyncio.Event()
        self.proceed.set()
        self.failure: Exception | None = None
        self.at_once = 0

    async def commit(
        self, records: Sequence[Outgoing], changes: Mapping[bytes, bytes | None]
    ) -> Receipt:
        self.at_once += 1
        assert self.at_once == 1, "one transaction at a time"
        self.commits.append((list(records), dict(changes)))
        self.called.release()
        await self.proceed.wait()
        self.at_once -= 1
        if self.failure is not None:
            raise self.failure
        return Receipt(0, 0, {"runs": len(self.commits)})

    async def close(self) -> None:
        """Nothing is held."""


class Loop:
    """A commit loop with everything around it."""

    def __init__(self) -> None:
        self.log = Log()
        self.store = MemoryStore()
        self.ledger = Ledger(self.store)
        self.positions: dict[bytes, bytes] = {}
        self.told: list[tuple[int, int]] = []
        self.commits = Commits(self.log, self.ledger, lambda: self.positions, self._hear)

    def _hear(self, commit: Committed) -> None:
        self.told.append((commit.times["runs"], commit.records))

    def put(self, key: bytes, *, record: bool = False) -> None:
        """Decide something."""
        self.ledger.open.state.put(key, b"")
        if record:
            self.ledger.open.records.append(Outgoing("t", key, b"", []))

    @property
    def keys(self) -> list[list[bytes]]:
        """The state keys of each commit."""
        return [sorted(changes) for _, changes in self.log.commits]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        task = asyncio.create_task(self.commits.run())
        await asyncio.sleep(0)
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def loop() -> Loop:
    return Loop()


async def test_what_was_decided_together_is_committed_together(loop: Loop) -> None:
    """Many steps share a transaction; records and changes are part of the same one."""
    async with loop.running():
        for number in range(5):
            loop.put(b"%d" % number, record=True)
            loop.commits.now()
        await loop.commits.finish()
    assert loop.keys == [[b"0", b"1", b"2", b"3", b"4"]]
    assert [record.key for record in loop.log.commits[0][0]] == [b"%d" % n for n in range(5)]


async def test_positions_are_in_the_same_commit(loop: Loop) -> None:
    """What is done and what came of it are never apart."""
    loop.positions = {b"p": b"[1,[]]"}
    loop.put(b"a")
    async with loop.running():
        await loop.commits.finish()
    assert loop.log.commits[0][1] == {b"a": b"", b"p": b"[1,[]]"}
    assert loop.store.get(b"p") == b"[1,[]]"


async def test_positions_alone_are_worth_a_commit(loop: Loop) -> None:
    """Records that came to nothing are done, too."""
    loop.positions = {b"p": b"[1,[]]"}
    async with loop.running():
        loop.commits.later()
        await loop.commits.finish()
    assert loop.keys[0] == [b"p"]


async def test_nothing_decided_is_no_commit(loop: Loop) -> None:
    """An empty transaction costs as much as a full one."""
    async with loop.running():
        loop.commits.now()
        await loop.commits.finish()
    assert loop.keys == []


async def test_what_is_decided_during_a_commit_is_in_the_next(loop: Loop) -> None:
    """One transaction at a time, and none is left waiting for a push."""
    loop.log.proceed.clear()
    async with loop.running():
        loop.put(b"a")
        loop.commits.now()
        await loop.log.called.acquire()
        loop.put(b"b")
        loop.commits.now()
        assert loop.store.get(b"a") is None
        loop.log.proceed.set()
        await loop.log.called.acquire()
        assert loop.store.get(b"a") == b""
    assert loop.keys == [[b"a"], [b"b"]]


async def test_what_nobody_waits_for_is_committed_too(loop: Loop) -> None:
    """`later` needs no `now` to follow."""
    async with loop.running():
        loop.put(b"a")
        loop.commits.later()
        await loop.log.called.acquire()
    assert loop.keys == [[b"a"]]


async def test_what_nobody_waits_for_rides_along(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that somebody waits for takes everything with it and waits for nothing."""
    monkeypatch.setattr(commits, "LATER_SECONDS", 3600.0)
    async with loop.running():
        loop.put(b"a")
        loop.commits.later()
        await asyncio.sleep(0)
        loop.put(b"b")
        loop.commits.now()
        await loop.log.called.acquire()
    assert loop.keys == [[b"a", b"b"]]


async def test_finishing_waits_for_the_commit_in_progress(loop: Loop) -> None:
    """And for the one that has to follow it."""
    loop.log.proceed.clear()
    async with loop.running():
        loop.put(b"a")
        loop.commits.now()
        await loop.log.called.acquire()
        loop.put(b"b")
        finishing = asyncio.create_task(loop.commits.finish())
        await asyncio.sleep(0)
        assert not finishing.done()
        loop.log.proceed.set()
        await finishing
    assert loop.keys == [[b"a"], [b"b"]]
    assert loop.store.get(b"b") == b""


async def test_finishing_can_be_asked_for_again(loop: Loop) -> None:
    """A task that keeps its partition over a rebalance goes on committing."""
    async with loop.running():
        for key in (b"a", b"b"):
            loop.put(key)
            await loop.commits.finish()
        loop.put(b"c")
        loop.commits.now()
        await loop.commits.finish()
    assert loop.keys == [[b"a"], [b"b"], [b"c"]]


async def test_finishing_without_a_loop_returns(loop: Loop) -> None:
    """A task that never began, or whose log was lost, has nobody who commits."""
    loop.put(b"a")
    await loop.commits.finish()
    assert loop.keys == []


async def test_a_lost_log_ends_the_loop_and_changes_no_state(loop: Loop) -> None:
    """Whether it is in the log is not known, so it must not be in the store."""
    loop.log.failure = TaskLost("t", "fenced")
    async with loop.running() as task:
        loop.put(b"a")
        loop.commits.now()
        with pytest.raises(TaskLost, match="fenced"):
            await task
        await loop.commits.finish()
    assert loop.store.get(b"a") is None
    assert loop.told == []


async def test_finishing_ends_when_the_log_is_lost_meanwhile(loop: Loop) -> None:
    """Nobody waits for a commit that can never come."""
    loop.log.proceed.clear()
    loop.log.failure = TaskLost("t", "fenced")
    async with loop.running() as task:
        loop.put(b"a")
        finishing = asyncio.create_task(loop.commits.finish())
        await loop.log.called.acquire()
        loop.log.proceed.set()
        await finishing
        with pytest.raises(TaskLost):
            await task


async def test_whoever_listens_hears_of_every_commit(loop: Loop) -> None:
    """The broker's time and how many records it had, with the changelog's."""
    async with loop.running():
        loop.put(b"a", record=True)
        await loop.commits.finish()
        loop.put(b"b")
        await loop.commits.finish()
    assert loop.told == [(1, 2), (2, 1)]


async def test_whoever_gives_up_waiting_leaves_no_hurry() -> None:
    """A rebalance waits for a commit for a limited time; the loop gathers again afterwards."""
    loop = Loop()
    async with loop.running():
        loop.log.proceed.clear()
        loop.put(b"a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await loop.commits.finish()

        assert not loop.commits._hurrying
        loop.log.proceed.set()


@pytest.mark.parametrize("turns", range(5))
async def test_a_loop_that_is_cancelled_ends(turns: int) -> None:
    """Also where its wait for something urgent is over in the same turn."""
    loop = Loop()
    committing = asyncio.create_task(loop.commits.run())
    loop.commits.later()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    loop.commits.now()
    for _ in range(turns):
        await asyncio.sleep(0)
    committing.cancel()

    ended, _ = await asyncio.wait({committing}, timeout=1)
    assert ended == {committing}
