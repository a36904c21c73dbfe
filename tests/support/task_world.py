"""A task over a simulated log that a test moves record by record."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fleet import Context, Event, StartEvent, StopEvent, step
from fleet.engine import ends_index
from fleet.engine.admission.concurrent_runs import ConcurrentRuns
from fleet.engine.admission.slots import Slots
from fleet.engine.context.children import Place
from fleet.engine.log import Receipt, TaskLost
from fleet.engine.offsets import Lost, OffsetTracker
from fleet.engine.task import StepGroupSettings, Task
from fleet.engine.transitions.draft import Work
from fleet.engine.transitions.outcomes import Outcome
from fleet.engine.transitions.recoveries import Caught
from fleet.memory.backend import MemoryStore
from fleet.records import envelope as envelopes
from fleet.records import lifecycle, state
from fleet.records.dead_letter import DeadLetter
from fleet.records.envelope import Envelope, Headers
from fleet.records.events import encoded, type_name
from fleet.records.lifecycle import (
    Lifecycle,
    StepRecord,
)
from fleet.records.log import Delivered, Outgoing
from fleet.records.topics import Topics
from fleet.workflow import definition
from fleet.workflow.calling.children import ChildRun
from fleet.workflow.definition import Definition

TOPICS = Topics("fleet", "joke", "main")
START, JOKES = TOPICS.event("StartEvent"), TOPICS.event("JokeEvent")
#: Broker time of the first record, in unix milliseconds.
EPOCH_MS = 1_700_000_000_000


class JokeEvent(Event):
    joke: str = ""


class Gate:
    """Where steps wait until the test lets them go."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[asyncio.Event]] = {}
        self.entered: list[str] = []

    async def at(self, place: str) -> None:
        self.entered.append(place)
        opened = asyncio.Event()
        self.waiting.setdefault(place, []).append(opened)
        try:
            await opened.wait()
        finally:
            self._leave(place, opened)

    def open(self, place: str) -> None:
        """Let go whoever waits at *place*."""
        for opened in self.waiting[place]:
            opened.set()

    def _leave(self, place: str, opened: asyncio.Event) -> None:
        self.waiting[place].remove(opened)
        if not self.waiting[place]:
            del self.waiting[place]


class JokeFlow(Definition):
    """Two steps take the joke; one of them ends the run."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.mended = False

    @step
    async def generate(self, ctx: Context, ev: StartEvent) -> JokeEvent:
        await self.gate.at(f"generate {ctx.run_id}")
        await ctx.store.set("seen.generate", ctx.run_id)
        if ev.get("size"):
            return JokeEvent(joke="x" * ev.get("size"))
        return JokeEvent(joke=f"about {ev.get('topic')}")

    @step
    async def critique(self, ctx: Context, ev: JokeEvent) -> StopEvent:
        await self.gate.at(f"critique {ctx.run_id}")
        if "bad" in ev.joke and not self.mended:
            raise LookupError(ev.joke)
        seen = await ctx.store.get("seen.generate")
        return StopEvent(result=[ev.joke, seen])

    @step
    async def count(self, ctx: Context, ev: JokeEvent) -> None:
        await self.gate.at(f"count {ctx.run_id}")


class WiderFlow(JokeFlow):
    """One more step takes the joke."""

    @step
    async def extra(self, ctx: Context, ev: JokeEvent) -> None:
        await self.gate.at(f"extra {ctx.run_id}")


class Clock:
    """Broker time that the test sets."""

    def __init__(self) -> None:
        self.ms = float(EPOCH_MS)
        self.known = True

    def now(self) -> float:
        return time.monotonic()

    def now_ms(self) -> float:
        return self.ms

    def at_ms(self, _moment: float) -> float:
        return self.ms

    def has_been(self, appended_ms: float) -> None:
        """Take nothing: the test says what time it is."""

    def observe(self, _times: Mapping[str, int], _seconds: float) -> bool:
        """Take nothing, and let timers be set anew."""
        return True

    def not_told(self, _seconds: float) -> bool:
        """Take nothing."""
        return False

    def read(self, _appended_ms: float) -> bool:
        """Take nothing."""
        return False


class Store(MemoryStore):
    """Counts how often somebody looked for what can be forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.scans = asyncio.Semaphore(0)
        self.read = 0

    def scan(self, prefix: bytes, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        self.scans.release()
        found = super().scan(prefix, after, limit)
        self.read += len(found)
        return found


class Transaction:
    """What a task wants to commit."""

    def __init__(self, records: Sequence[Outgoing], changes: Mapping[bytes, bytes | None]) -> None:
        self.records = list(records)
        self.changes = dict(changes)
        self.decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Log:
    """One incarnation's way to the broker."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.pending: Transaction | None = None

    async def commit(
        self, records: Sequence[Outgoing], changes: Mapping[bytes, bytes | None]
    ) -> Receipt:
        assert self.pending is None, "one transaction at a time"
        transaction = self.pending = Transaction(records, changes)
        if not self._world.hold:
            self.decide()
        try:
            await transaction.decided
        finally:
            self.pending = None
        return Receipt(appended_ms=0, state_offset=0)

    async def close(self) -> None:
        """Nothing is held."""

    def decide(self) -> None:
        """Let the pending transaction be committed."""
        assert self.pending is not None
        self._world.apply(self.pending)
        self.pending.decided.set_result(None)

    def lose(self) -> None:
        """Tell the task that somebody else owns its partition."""
        assert self.pending is not None
        self.pending.decided.set_exception(TaskLost("t", "fenced"))


class Itself:
    """Where the workflow is that steps run: the one workflow."""

    async def find(self, _run: ChildRun) -> Place:
        return Place(f"{TOPICS.prefix}.{TOPICS.workflow}", 1)


class World:
    """A broker with one partition of each topic, and the task that owns it."""

    def __init__(
        self, clock: Clock, flow: Definition | None = None, most_runs: int | None = None
    ) -> None:
        """Run *flow*; without one, a `WiderFlow` of which a version knows only `JokeFlow`.

        *most_runs* is its `num_concurrent_runs`.
        """
        self._most_runs = most_runs
        self.flow: Any = flow or WiderFlow()
        self.clock = clock
        self.topics: dict[str, list[Delivered]] = defaultdict(list)
        self.ends: dict[str, int] = defaultdict(int)
        self.state: dict[bytes, bytes] = {}
        self.transactions: list[Transaction] = []
        self.shown: list[Event] = []
        self.lost: list[BaseException] = []
        self.ended: list[str] = []
        self.buried: list[str] = []
        #: Failures that a handler gets: the step and its handler.
        self.caught: list[tuple[str, str]] = []
        self.answers_dropped: list[str] = []
        #: Whether transactions wait for the test.
        self.hold = False
        self.step_group = StepGroupSettings(
            graph=definition.graph(type(flow) if flow else JokeFlow),
            topics=TOPICS,
            workflow=lambda: self.flow,
            slots=Slots(1_000),
            stream=self,
            observer=self,
            dedupe_days=1,
            resume_days=7,
            children=Itself(),
        )
        self.positions: dict[str, int] = {}
        self.made: list[Task] = []
        self.task, self.log, self.store = self._new_task()

    # -- the broker -----------------------------------------------------------------------------

    def append(self, record: Outgoing, appended_ms: int | None = None) -> Delivered:
        """Append one record."""
        appended = Delivered(
            topic=record.topic,
            partition=0,
            offset=self.ends[record.topic],
            appended_ms=appended_ms or round(self.clock.ms),
            key=record.key,
            value=record.value,
            headers=record.headers,
        )
        self.ends[record.topic] += 1
        self.topics[record.topic].append(appended)
        return appended

    def apply(self, transaction: Transaction) -> None:
        """Commit a transaction, with a marker at the end of each of its topics."""
        self.transactions.append(transaction)
        for record in transaction.records:
            self.append(record)
        for topic in {record.topic for record in transaction.records}:
            self.ends[topic] += 1
        for key, value in transaction.changes.items():
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value

    def start(
        self, run_id: str, event_id: str = "", timeout: float | None = None, **f: Any
    ) -> None:
        """Append a start event."""
        self.send(
            StartEvent(**f), run_id, event_id=event_id or f"start {run_id}", timeout_seconds=timeout
        )

    def send(self, event: Event, run_id: str, topic: str = "", **parts: Any) -> None:
        """Append an event as somebody outside would."""
        envelope = Envelope(**{"run_id": run_id, "type": type_name(event), "event_id": "o"} | parts)
        self.raw(topic or TOPICS.event(type_name(event)), encoded(event), envelope.headers())

    def happen(
        self, happening: Lifecycle, run_id: str, appended_ms: int | None = None, **parts: Any
    ) -> None:
        """Append a record of `runs` as somebody outside would."""
        envelope = Envelope(**{"run_id": run_id, "event_id": "o", "type": happening.kind} | parts)
        outgoing = Outgoing(TOPICS.runs, run_id.encode(), happening.encode(), envelope.headers())
        self.append(outgoing, appended_ms)

    def raw(self, topic: str, value: bytes, headers: Headers) -> None:
        """Append any bytes."""
        key = dict(headers).get("fleet-run-id", b"key")
        self.append(Outgoing(topic, key, value, headers))

    # -- the task -------------------------------------------------------------------------------

    def _new_task(self) -> tuple[Task, Log, Store]:
        log, store = Log(self), Store()
        # Another process has places of its own.
        self.step_group = replace(self.step_group, runs=ConcurrentRuns(self._most_runs))
        store.write(self.state)
        made = Task(self.step_group, 0, log, store, lambda _, why: self.lost.append(why))
        made.restore()
        self.positions = {topic: each.unseen for topic, each in made.trackers.items()}
        self.made.append(made)
        return made, log, store

    async def begin(self) -> None:
        """Load the task as the engine does: `runs` up to its end first."""
        self.deliver(TOPICS.runs, 1_000_000)
        self.task.begin()
        await turns()

    def deliver(self, topic: str, limit: int = 1) -> int:
        """Hand on up to *limit* records of *topic*; return how many there were."""
        following = [each for each in self.topics[topic] if each.offset >= self.positions[topic]]
        for record in following[:limit]:
            self.positions[topic] = record.offset + 1
            self.task.intake.deliver(record)
        return len(following[:limit])

    async def pump(self) -> None:
        """Hand on records until there are none, letting commits happen."""
        while sum(self.deliver(topic, 1_000_000) for topic in self.step_group.inputs):
            await turns()

    def read_all(self) -> None:
        """Say that what was handed on is all that there is by now."""
        self.clock.ms += 1
        for topic in self.step_group.inputs:
            self.task.intake.reaches(topic, self.positions[topic], self.positions[topic])

    async def open(self, *places: str) -> None:
        """Let steps go on and everything that follows happen."""
        for place in places:
            self.flow.gate.open(place)
        await turns()
        await self.pump()

    async def crash(self) -> None:
        """Lose the process and start the task elsewhere, from what was committed."""
        await self.task.close()
        self.flow.gate = Gate()
        self.task, self.log, self.store = self._new_task()

    async def restart(self) -> None:
        """Crash, load, and take what there is."""
        await self.crash()
        await self.begin()
        await self.pump()

    # -- what it does ---------------------------------------------------------------------------

    async def write(self, work: Work, attempt_id: str, number: int, event: Event) -> None:
        """Take a stream write."""
        self.shown.append(event)

    def step_finished(self, work: Work, outcome: Outcome, step: StepRecord) -> None:
        """Hear that an attempt ended."""

    def run_started(self) -> None:
        """Hear that a run's start was read."""

    def run_ended(self, outcome: str, seconds: float) -> None:
        """Hear that a run's effective end was read."""
        self.ended.append(outcome)

    def dead_letter(self, run_id: str, letter: DeadLetter) -> None:
        """Hear that a dead letter was appended."""
        self.buried.append(letter.reason)

    def failure_caught(self, work: Work, caught: Caught) -> None:
        """Hear that a handler gets a failure."""
        self.caught.append((work.step.name, caught.handler))

    def records_lost(self, topic: str, partition: int, lost: Lost) -> None:
        """Hear that an input does not have any more what was not done."""

    def answer_dropped(self, event: Envelope) -> None:
        """Hear that a run had no room for one more event that no step waits for."""
        self.answers_dropped.append(event.type)

    def committed(self, records: int, size: int, seconds: float) -> None:
        """Hear that a commit was acknowledged."""

    # -- what is there --------------------------------------------------------------------------

    def happenings(self, run_id: str) -> list[Lifecycle]:
        """Return a run's lifecycle records."""
        found = [each for each in self.topics[TOPICS.runs] if each.key == run_id.encode()]
        return [lifecycle.decode(parsed(each).type, each.value or b"") for each in found]

    def end(self, run_id: str) -> Lifecycle | None:
        """Return the first terminal record of a run."""
        return next((each for each in self.happenings(run_id) if each.terminal), None)

    def history(self) -> list[StepRecord]:
        """Return every step record."""
        return [StepRecord.decode(each.value or b"") for each in self.topics[TOPICS.history]]

    def letters(self) -> list[DeadLetter]:
        """Return every dead letter."""
        notes = [dict(each.headers)["fleet-dead-letter"] for each in self.topics[TOPICS.dead]]
        return [DeadLetter.model_validate_json(note) for note in notes]

    def indexed(self) -> list[bytes]:
        """Return the keys of the index of ends, in the local copy."""
        keys = (key for key, _ in self.store.items(ends_index.INDEX))
        return [key for key in keys if key != ends_index.COMPLETE]

    def kept(self, prefix: bytes = b"") -> list[bytes]:
        """Return the committed state's keys, without positions."""
        found = [key for key in self.state if key.startswith(prefix)]
        return sorted(key for key in found if not key.startswith(state.POSITION))

    def tracker(self, topic: str) -> OffsetTracker:
        """Return the committed position in a topic."""
        return OffsetTracker.decode(self.state[state.position_key(topic)])


def parsed(record: Delivered) -> Envelope:
    """Return a record's envelope."""
    return envelopes.parse(record.headers)


async def turns() -> None:
    """Let everything happen that waits for nothing but its turn."""
    for _ in range(30):
        await asyncio.sleep(0)
