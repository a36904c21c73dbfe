"""Workers, callers and the command line agree on the ends of a run, whatever its records are."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from fleet import StartEvent, StopEvent, WorkflowHandler, step
from fleet.client.caller import Caller
from fleet.control.runs.log import Run, RunLog
from fleet.engine.transitions import ends, lifecycle_records, starts
from fleet.engine.transitions.draft import Draft, Ended, Wiring
from fleet.engine.transitions.resolve import Resolver
from fleet.engine.transitions.runs import End
from fleet.records import envelope as envelopes
from fleet.records import lifecycle, state
from fleet.records.envelope import Envelope
from fleet.records.events import encoded
from fleet.records.lifecycle import (
    Cancelled,
    Completed,
    Failed,
    Failure,
    Known,
    Lifecycle,
    Resumed,
    Started,
    TimedOut,
)
from fleet.records.log import Delivered, Outgoing, Page
from fleet.records.run_entries import RunEntries
from fleet.records.state import MemoryState, Overlay
from fleet.records.topics import Topics
from fleet.workflow import definition
from fleet.workflow.definition import Definition
from fleet.workflow.graph import Graph

TOPICS = Topics("fleet", "short", "main")
RUN_ID = "r"


class Short(Definition):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent()


def terminal(kind: str, mark: str) -> Lifecycle:
    """Return a terminal record; a caller that hears this end hears its *mark*."""
    failure = Failure(module="builtins", type="LookupError", message=mark, args=(mark,))
    stop = encoded(StopEvent(result=mark)).decode()
    return {
        "completed": Completed(step="only", event_type="StopEvent", event=stop),
        "failed": Failed(step="only", event_id="e", failure=failure),
        "cancelled": Cancelled(reason=mark),
        "timed_out": TimedOut(timeout_seconds=1, active_steps=(mark,)),
    }[kind]


class Place(NamedTuple):
    """An effective end, as one of the three sees it."""

    outcome: str
    epoch: int
    offset: int


class Partition:
    """One partition of `runs`."""

    def __init__(self) -> None:
        self.records: list[Delivered] = []

    def append(self, record: Outgoing) -> None:
        at = len(self.records)
        self.records.append(
            Delivered(TOPICS.runs, 0, at, at * 1000, record.key, record.value, record.headers)
        )

    def write(self, happening: Lifecycle, epoch: int) -> None:
        event_id = f"o{len(self.records)}"
        envelope = Envelope(run_id=RUN_ID, event_id=event_id, type=happening.kind, epoch=epoch)
        record = Outgoing(TOPICS.runs, RUN_ID.encode(), happening.encode(), envelope.headers())
        self.append(record)


class Group:
    """The step group's worker: it reads `runs` and start events, and commits now and then."""

    def __init__(self, log: Partition) -> None:
        self._resolver = Resolver(Wiring(definition.graph(Short), TOPICS), lambda: 1)
        self._log = log
        self._state = MemoryState()
        self._draft = Draft(Overlay(self._state))
        self._starts = 0
        self.position = 0
        #: Every effective end since the run began, in order.
        self.ends: list[Place] = []

    @property
    def end(self) -> End | None:
        value = self._draft.state.get(state.end_key(RUN_ID))
        return End.decode(value) if value is not None else None

    def start(self, sent: Outgoing) -> None:
        self._starts += 1
        at = (TOPICS.event("StartEvent"), 0, self._starts, 1_000)
        record = Delivered(*at, sent.key, sent.value, sent.headers)
        envelope = envelopes.parse(sent.headers)
        entrance = self._resolver._entrance(self._draft.state, record, envelope, self.position)
        starts.enter(self._draft, TOPICS, record, envelope, entrance)

    def forget(self) -> None:
        ends.forget(self._draft, RUN_ID, resumable=True)
        self.ends = []

    def read(self) -> None:
        record = self._log.records[self.position]
        envelope = envelopes.parse(record.headers)
        happening = lifecycle.decode(envelope.type, record.value or b"")
        self.position += 1
        found = lifecycle_records.take(self._draft, TOPICS, record, envelope, happening)
        if isinstance(found, Ended):
            assert self.end is not None
            assert self.end.offset == record.offset
            self.ends.append(Place(self.end.outcome, self.end.epoch, self.end.offset))

    def commit(self) -> None:
        self._state.write(self._draft.state.changes)
        for record in self._draft.records:
            self._log.append(record)
        self._draft = Draft(Overlay(self._state))


class Call:
    """A caller in a process of its own, which follows the log from when it calls."""

    def __init__(self, log: Partition) -> None:
        self._log = log
        self._began = self._read_to = len(log.records)
        self.workers: Callable[[str], Awaitable[int]] | None = None
        self._caller = Caller(Short, TOPICS, self)
        self.sent: list[Outgoing] = []
        self.handler: WorkflowHandler

    async def begin(self) -> Outgoing:
        self.handler = self._caller.run(StartEvent(), RUN_ID, None)
        await turns()
        return self.sent[0]

    async def read(self) -> None:
        while self._read_to < len(self._log.records):
            self._read_to += 1
            self._caller.take(self._log.records[self._read_to - 1])
            await turns()

    def close(self) -> None:
        self._caller.shut()

    # -- how it reaches the log

    async def follow(self, run_id: str) -> None:
        """It does from the beginning."""

    def followed_from(self, run_id: str) -> int:
        return self._began

    async def send(self, record: Outgoing, *, repeatable: bool) -> None:
        self.sent.append(record)

    async def look_back(self, run_id: str, offset: int) -> list[Delivered]:
        return self._log.records[offset : self._read_to]

    def stream_position(self, run_id: str) -> int:
        return 0

    async def stream_since(self, run_id: str, since_ms: int) -> int:
        raise AssertionError(run_id)

    async def read_stream(self, run_id: str, first: int, end: int) -> Page:
        raise AssertionError(run_id)

    async def read_run(self, run_id: str) -> RunEntries:
        raise AssertionError(run_id)

    async def running_steps(self, run_id: str, graph: Graph) -> list[str]:
        raise AssertionError(run_id)

    def when_stream_read(self, run_id: str, done: Callable[[], None], *, soon: bool) -> None:
        asyncio.get_running_loop().call_soon(done)

    def unfollow(self, run_id: str) -> None:
        """Nothing else is read."""

    # -- what it hears

    @property
    def heard(self) -> str | None:
        """The mark of the end that it has heard; None: it waits."""
        if not self.handler.is_done():
            return None
        error = self.handler.exception()
        return str(self.handler.result() if error is None else error)

    def answer(self) -> tuple[Lifecycle, int]:
        """Return the answer to its start event, and where that stands."""
        start_id = envelopes.parse(self.sent[0].headers).event_id
        for record in self._log.records:
            happening = lifecycle.decode(envelopes.parse(record.headers).type, record.value or b"")
            if isinstance(happening, Started | Known) and happening.start_event_id == start_id:
                return happening, record.offset
        raise AssertionError("a start event was not answered")


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class History:
    """Random records of one run, from all that write some: callers, steps, operators, the group."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.log = Partition()
        self.group = Group(self.log)
        self.calls: list[Call] = []
        self._starts: list[Outgoing] = []
        #: Of the current run with the id.
        self.current: list[Call] = []
        self.seen: Counter[str] = Counter()

    async def play(self) -> None:
        for _ in range(self._random.randint(5, 40)):
            await self._step()
        for sent in self._starts:
            self.group.start(sent)
        await self._settle()

    async def _step(self) -> None:
        does = self._random.choices(
            [self._call, self._start, self._end, self._ask, self._read, self._forget],
            [2, 2, 4, 3, 8, 0.5],
        )
        await does[0]()
        if self._random.random() < 0.4:
            self.group.commit()

    async def _call(self) -> None:
        call = Call(self.log)
        self.calls.append(call)
        self.current.append(call)
        self._starts.append(await call.begin())

    async def _start(self) -> None:
        if self._starts:
            self.group.start(self._starts.pop(self._random.randrange(len(self._starts))))

    async def _end(self) -> None:
        kind = self._random.choice(["completed", "failed", "failed", "cancelled", "timed_out"])
        self.log.write(terminal(kind, f"<{len(self.log.records)}>"), self._epoch())

    async def _ask(self) -> None:
        self.log.write(Resumed(), max(1, self._epoch()))

    def _epoch(self) -> int:
        """Return an epoch: mostly the run's own or the next one."""
        end = self.group.end
        own = (
            end.epoch
            if end is not None
            else max((place.epoch + 1 for place in self.group.ends), default=0)
        )
        return max(0, own + self._random.choice([-1, 0, 0, 0, 1, 1]))

    async def _read(self) -> None:
        if self.group.position < len(self.log.records):
            self.group.read()

    async def _forget(self) -> None:
        """Retention removes an ended run, and a new one with its id begins."""
        if self.group.end is None or self._starts:
            return
        await self._settle()
        self.check()
        self.seen["forgotten"] += 1
        self.group.forget()
        self.current = []
        await self._call()
        await self._start()

    async def _settle(self) -> None:
        """Let the group and the callers read everything."""
        self.group.commit()
        while self.group.position < len(self.log.records):
            self.group.read()
            self.group.commit()
        for call in self.calls:
            await call.read()

    # -- what is checked

    def check(self) -> None:
        run = self._folded(0)
        self.seen["ends"] += len(self.group.ends)
        self.seen["resumed and ended"] += len(self.group.ends) > 1
        assert [
            Place(each.outcome, each.epoch, each.offset) for each in run.ends
        ] == self.group.ends
        end = self.group.end
        assert (run.end and run.end.offset) == (end and end.offset)
        for request in run.taken:
            # Retention may have removed everything before it.
            self.seen["resumed"] += 1
            later = [end for end in run.ends if end.offset > request.offset]
            assert self._folded(request.offset).ends == later
        for call in self.current:
            self._check_call(call)

    def _folded(self, begin: int) -> Run:
        log = RunLog()
        for record in self.log.records[begin:]:
            log.take(record)
        return log.get(RUN_ID) or Run(RUN_ID, 0)

    def _check_call(self, call: Call) -> None:
        answer, at = call.answer()
        if isinstance(answer, Known) and answer.end_offset is not None:
            expected: int | None = answer.end_offset
        else:
            # Of an end that came before, only the run that this call has begun cannot know.
            assert isinstance(answer, Started | Known)
            later = [place.offset for place in self.group.ends if place.offset >= answer.read_from]
            expected = next(iter(later), None)
        self.seen[f"{answer.kind}, ended" if expected is not None else "open"] += 1
        self.seen["ended before its answer"] += expected is not None and expected < at
        if expected is None:
            assert call.heard is None
        else:
            assert call.heard is not None
            assert f"<{expected}>" in call.heard


async def play(seeds: range) -> Counter[str]:
    seen = Counter[str]()
    for seed in seeds:
        history = History(seed)
        await history.play()
        history.check()
        for call in history.calls:
            call.close()
        await turns()
        seen += history.seen
    return seen


@pytest.mark.parametrize("block", range(4))
async def test_all_readers_see_the_same_ends(block: int) -> None:
    """In each of a few hundred histories; what matters happens often in them."""
    seen = await play(range(block * 100, (block + 1) * 100))
    assert min(seen.values()) > 5, seen
    assert len(seen) == 8, seen
