"""
The guards around Faust and aiokafka, driven without a broker: with each of them and without it.

The classes are the real ones. Where a test takes a guard out, it puts the host's own behaviour in
its place and shows what would be lost. docs/host.md lists them all.
"""

import ast
import asyncio
import contextlib
import inspect
import itertools
import logging
import logging.config
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import faust
import faust.streams
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer import group_coordinator
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

import fleet
from fleet import Context, Event, StartEvent, StopEvent, Workflow, serve, step
from fleet.api.serving import FleetApp
from fleet.config import logs
from fleet.config.settings import Settings
from fleet.engine.admission.slots import Slots
from fleet.engine.finishing import Finishing
from fleet.engine.log import Receipt
from fleet.engine.offsets import OffsetTracker
from fleet.engine.ports import StateInUse
from fleet.engine.task import StepGroupSettings, Task
from fleet.host import transport
from fleet.host.compatibility import StreamNotCompiled
from fleet.host.consumer import Consumer
from fleet.host.thread import ConsumerThread
from fleet.host.transport import AppUnusable
from fleet.kafka.clients import Clients
from fleet.kafka.records import delivered
from fleet.kafka.rocks import RocksStore
from fleet.kafka.transactional_log import KafkaLog
from fleet.memory.backend import MemoryBroker, MemoryLog, MemoryStore
from fleet.observability.metrics import Metrics
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import StepRecord
from fleet.records.topics import Topics
from fleet.workflow import definition


class JokeEvent(Event):
    joke: str = ""


class GuardFlow(Workflow, workflow="guard"):
    @step
    async def tell(self, ev: StartEvent) -> JokeEvent:
        return JokeEvent()

    @step
    async def judge(self, ev: JokeEvent) -> StopEvent:
        return StopEvent()


class Record(NamedTuple):
    """As aiokafka hands one out."""

    topic: str
    partition: int
    offset: int
    value: bytes = b'"v"'
    key: bytes = b'"k"'
    timestamp: int = 0
    timestamp_type: int = 1
    headers: tuple[Any, ...] = ()
    checksum: None = None
    serialized_key_size: int = 0
    serialized_value_size: int = 0


@dataclass
class Hosted:
    """A served app that is not started, with one task and a topic of an agent."""

    app: FleetApp
    consumer: Consumer
    task: Task

    @property
    def ours(self) -> TP:
        return TP(self.app.topics_of_workflow.event("JokeEvent"), 0)

    @property
    def native(self) -> TP:
        return TP("native", 0)

    def message(self, tp: TP, offset: int) -> Any:
        return self.consumer._to_message(tp, Record(tp.topic, tp.partition, offset))

    def acknowledged(self, topic: str) -> None:
        """Let Faust count acknowledgements of *topic*, as it does for what an agent reads."""
        self.app.topics.acking_topics.add(topic)


@pytest.fixture
async def hosted(tmp_path: Path) -> AsyncIterator[Hosted]:
    settings = Settings(broker="kafka://127.0.0.1:1", data_dir=tmp_path)
    app = serve(GuardFlow, settings=settings)
    engine = app.host.engines.first
    task = Task(engine.step_group, 0, MemoryLog(MemoryBroker()), MemoryStore(), lambda *_: None)
    task.restore()
    engine.tasks[0] = task
    consumer: Any = app.consumer
    thread = consumer._thread
    yield Hosted(app, consumer, task)
    # Made with the thread, which was never started.
    thread.thread_loop.close()


# -- offsets --------------------------------------------------------------------------------------


@dataclass
class Window:
    """What was delivered of a partition since its last committed offset, and what of it is done."""

    committed: int | None
    delivered: tuple[int, ...]
    done: tuple[int, ...]

    @property
    def unfinished(self) -> int:
        return min(set(self.delivered) - set(self.done))


WINDOWS = {
    "the first one is in flight": Window(31, (31, 32, 33), (32, 33)),
    "nothing was committed before": Window(None, (0, 1, 2), (1, 2)),
    "the next one after a gap is in flight": Window(10, (10, 11, 15, 16), (10, 11, 16)),
}


def by_the_frontier(hosted: Hosted, window: Window) -> int | None:
    """Return what we commit for the window."""
    tracker = hosted.task.trackers[hosted.ours.topic]
    tracker.next = tracker.committed = window.committed or 0
    for offset in window.delivered:
        tracker.deliver(offset)
    for offset in window.done:
        tracker.done(offset)
    hosted.task.inputs.positions()
    hosted.task.inputs.committed()
    return hosted.consumer._new_offset(hosted.ours)


async def by_faust(hosted: Hosted, window: Window) -> int | None:
    """Return what Faust commits for the window, from its own lists."""
    consumer, tp = hosted.consumer, hosted.native
    hosted.acknowledged(tp.topic)
    read: int | None = window.committed
    consumer._committed_offset[tp] = read
    for offset in window.delivered:
        # As in Faust's own loop.
        if read and offset - read > 1:
            await consumer._add_gap(tp, read + 1, offset)
        read = offset
    for offset in window.done:
        driver.Consumer.ack(consumer, hosted.message(tp, offset))
    committed = driver.Consumer._new_offset(consumer, tp)
    assert committed is None or isinstance(committed, int)
    return committed


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
async def test_no_offset_beyond_unfinished_work_is_committed(
    hosted: Hosted, window: Window
) -> None:
    """The group's offset is the frontier of the last commit."""
    committed = by_the_frontier(hosted, window)

    assert (committed or 0) <= window.unfinished


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
async def test_without_the_frontier_offsets_beyond_unfinished_work_is_seen(
    hosted: Hosted, window: Window
) -> None:
    """Faust's own calculation passes over what is in flight."""
    committed = await by_faust(hosted, window)

    assert committed is not None
    assert committed > window.unfinished


async def test_a_frontier_is_only_committed_with_its_transaction(hosted: Hosted) -> None:
    """What is done and not committed would run again, so the offset waits for it."""
    tracker = hosted.task.trackers[hosted.ours.topic]
    for offset in range(3):
        tracker.deliver(offset)
        tracker.done(offset)
    before = hosted.consumer._new_offset(hosted.ours)
    hosted.task.inputs.positions()
    sealed = hosted.consumer._new_offset(hosted.ours)
    hosted.task.inputs.committed()

    assert (before, sealed, hosted.consumer._new_offset(hosted.ours)) == (None, None, 3)


async def test_native_topics_keep_fausts_own_offsets(hosted: Hosted) -> None:
    """For what is no workflow's, acknowledgements and offsets are those of Faust."""
    consumer, tp = hosted.consumer, hosted.native
    hosted.acknowledged(tp.topic)
    for offset in (0, 1, 4):
        consumer.ack(hosted.message(tp, offset))

    assert consumer._acked[tp] == [0, 1, 4]
    assert tp in consumer._filter_tps_with_pending_acks()
    assert consumer._new_offset(tp) == 2


# -- registered at delivery -----------------------------------------------------------------------


class Taken(NamedTuple):
    """What Faust makes of records that a stream got."""

    acknowledged: list[int]
    committed: int | None


async def taken_of(hosted: Hosted, tp: TP, offsets: Iterable[int]) -> Taken:
    """Let a stream get *offsets*, all but the last of an older assignment."""
    app, consumer = hosted.app, hosted.consumer
    hosted.acknowledged(tp.topic)
    messages = [hosted.message(tp, offset) for offset in offsets]
    app.consumer_generation_id += 1
    messages[-1].generation_id = app.consumer_generation_id
    channel = app.topic(tp.topic, value_type=bytes, value_serializer="raw")
    await iterated(app.stream(channel), messages)
    acknowledged = list(consumer._acked[tp])
    return Taken(acknowledged, driver.Consumer._new_offset(consumer, tp))


async def iterated(stream: Any, messages: list[Any]) -> None:
    """Let a stream get *messages*, and an agent take what it hands out up to the last."""
    stream.app.flow_control.resume()
    for message in messages:
        message.incref()
        await stream.channel.put(await stream.channel.decode(message))
    async for event in stream.events():
        if event.message is messages[-1]:
            break
    # Which acknowledges what the agent was at.
    await stream.stop()


async def test_a_record_counts_from_its_delivery_on(hosted: Hosted) -> None:
    """That nobody has begun with it makes no difference: the frontier does not pass it."""
    tp = TP(hosted.app.topics_of_workflow.event("StartEvent"), 0)
    hosted.app.host.live.begin([tp])
    hosted.app.host.live.deliver(tp, [start_record(tp, offset) for offset in range(4)])
    hosted.task.attempts.stop_admitting()
    tracker = hosted.task.trackers[tp.topic]
    tracker.done(3)
    hosted.task.inputs.positions()
    hosted.task.inputs.committed()

    assert (tracker.lowest, tracker.pending) == (0, 3)
    assert hosted.consumer._new_offset(tp) is None


async def test_without_it_records_that_a_stream_skips_are_lost_is_seen(hosted: Hosted) -> None:
    """What a stream drops because of its assignment leaves no trace: three are passed over."""
    assert await taken_of(hosted, hosted.native, range(4)) == Taken([3], 4)


async def test_a_stream_in_plain_python_is_refused(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Agents beside a workflow would lose what is in their buffers at a rebalance."""
    monkeypatch.setattr(faust.streams, "_CStreamIterator", None)

    with pytest.raises(StreamNotCompiled, match="unset NO_CYTHON"):
        serve(GuardFlow, settings=hosted.app.host.engines.settings)


async def test_without_the_compiled_stream_skipped_records_acknowledged_is_seen(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plain one acknowledges what it skips."""
    monkeypatch.setattr(faust.streams, "_CStreamIterator", None)

    assert await taken_of(hosted, hosted.native, range(4)) == Taken([0, 1, 2, 3], 4)


async def test_an_agents_acknowledgement_of_a_workflows_event_is_heard(hosted: Hosted) -> None:
    """The compiled stream writes it down by itself, without `Consumer.ack`."""
    tp, consumer = hosted.ours, hosted.consumer
    hosted.acknowledged(tp.topic)
    tracker = hosted.task.trackers[tp.topic]
    messages = [hosted.message(tp, offset) for offset in range(3)]
    handed = consumer._feed._trackers[tp] = OffsetTracker()
    for message in messages:
        tracker.deliver(message.offset)
        tracker.done(message.offset)
        handed.deliver(message.offset)
    hosted.task.inputs.positions()
    hosted.task.inputs.committed()
    topic = hosted.app.topic(tp.topic, value_type=bytes, value_serializer="raw")
    await iterated(hosted.app.stream(topic), messages)

    assert consumer._new_offset(tp) == 3


def start_record(tp: TP, offset: int) -> Record:
    envelope = Envelope(run_id=f"r{offset}", event_id=f"e{offset}", type="StartEvent")
    key = envelope.run_id.encode()
    return Record(*tp, offset, value=b"{}", key=key, headers=tuple(envelope.headers()))


# -- rebalances -----------------------------------------------------------------------------------


class Thread:
    """Stands where the consumer thread is: remembers what is committed."""

    def __init__(self, assigned: set[TP]) -> None:
        self.assigned = assigned
        self.committed: dict[TP, int] = {}

    def assignment(self) -> set[TP]:
        return self.assigned

    async def commit(self, offsets: dict[TP, int]) -> bool:
        self.committed |= offsets
        return True


async def committed_at_revoke(hosted: Hosted, kind: type[Any]) -> dict[TP, int]:
    """Revoke a partition of which an agent has acknowledged three records."""
    consumer: Any = hosted.consumer
    thread = consumer._thread = Thread({hosted.native})
    hosted.acknowledged(hosted.native.topic)
    for offset in range(3):
        consumer.ack(hosted.message(hosted.native, offset))

    async def revoked(_: set[TP]) -> None:
        # What the app does in here last of all.
        await consumer.commit()

    consumer._on_partitions_revoked = revoked
    consumer.app.producer.flush = revoked_flush
    await kind.on_partitions_revoked(consumer, {hosted.native})
    return thread.committed


async def revoked_flush() -> None:
    """Flush nothing: the producer is not started."""


async def test_what_is_done_is_committed_before_it_is_forgotten(hosted: Hosted) -> None:
    """Faust forgets acknowledgements of revoked partitions first."""
    assert await committed_at_revoke(hosted, Consumer) == {hosted.native: 3}


async def test_without_the_commit_acknowledgements_forgotten_is_seen(hosted: Hosted) -> None:
    """Its own commit comes when they are gone."""
    assert await committed_at_revoke(hosted, driver.Consumer) == {}


async def handed_at(hosted: Hosted, generation: int) -> list[int]:
    """Hold two records, begin an assignment *generation* later, and hand them over."""
    consumer: Any = hosted.consumer
    taken: list[int] = []

    async def take(message: Any) -> None:
        taken.append(message.offset)

    consumer.callback = take
    consumer.app.monitor.track_tp_end_offset = lambda *_: None
    consumer._thread = SimpleNamespace(highwater=lambda _: 0)
    queue = consumer._records._queue
    queue.hold(hosted.native, [Record(*hosted.native, 0), Record(*hosted.native, 1)])
    consumer.app.consumer_generation_id += generation
    running = asyncio.create_task(queue.run())
    await queue._held_none.wait()
    running.cancel()
    return taken


async def test_records_of_an_older_assignment_are_not_handed_over(hosted: Hosted) -> None:
    """They are sought back to; with them Faust would take what is between for acknowledged."""
    assert await handed_at(hosted, 1) == []


async def test_records_of_this_assignment_are(hosted: Hosted) -> None:
    """So the test above sees something."""
    assert await handed_at(hosted, 0) == [0, 1]


async def delivered_after_revoke(hosted: Hosted) -> list[int]:
    """Hand a batch to a task whose partition is revoked in the middle of it."""
    tp, host = TP(hosted.app.topics_of_workflow.event("StartEvent"), 0), hosted.app.host
    host.live.begin([tp])
    taking = asyncio.create_task(
        hosted.consumer._records.take(tp, [start_record(tp, offset) for offset in range(250)])
    )
    await asyncio.sleep(0)
    host.live.clear()
    await taking
    tracker = hosted.task.trackers[tp.topic]
    hosted.task.attempts.stop_admitting()
    return [tracker.next, tracker.unseen]


async def test_a_batch_that_is_cut_leaves_no_gap(hosted: Hosted) -> None:
    """What is dropped of it is read again: the task goes on right behind what it has."""
    assert await delivered_after_revoke(hosted) == [100, 100]


# -- the consumer ---------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def made_by(hosted: Hosted, kind: type[Any]) -> AsyncIterator[Any]:
    """The aiokafka consumer that a consumer thread makes, not started."""
    thread: Any = hosted.consumer._thread
    made = kind._create_worker_consumer(thread, hosted.app.transport)
    try:
        yield made
    finally:
        await made.stop()


class Group(NamedTuple):
    isolation: str
    apart: bool


async def group_of(hosted: Hosted, kind: type[Any]) -> Group:
    """Return what a consumer reads, and whether two of them would take a run's records apart.

    On an app without tables and their standby copies.
    """
    hosted.app.conf.table_standby_replicas = 0
    async with made_by(hosted, kind) as made:
        (assignor,) = made._partition_assignment_strategy
        return Group(made._isolation_level, is_apart(assignor))


def is_apart(assignor: Any) -> bool:
    """Tell whether two members get different partition numbers of three topics."""
    topics = ["a", "b", "c"]
    cluster = ClusterMetadata(bootstrap_servers=["localhost"])
    cluster._partitions = {each: dict.fromkeys(range(3)) for each in topics}
    members = {name: assignor.metadata(set(topics)) for name in ("one", "two")}
    for member in assignor.assign(cluster, members).values():
        numbers = [set(partitions) for _, partitions in member.assignment]
        if any(each != numbers[0] for each in numbers):
            return True
    return False


async def test_the_group_reads_what_is_committed_and_keeps_runs_together(hosted: Hosted) -> None:
    """A worker gets the same partition numbers of all topics."""
    assert await group_of(hosted, ConsumerThread) == Group("read_committed", apart=False)


async def test_without_it_uncommitted_records_and_runs_taken_apart_is_seen(
    hosted: Hosted,
) -> None:
    """Without tables Faust reads everything and spreads partitions over workers as they come."""
    stock = driver.AIOKafkaConsumerThread

    assert await group_of(hosted, stock) == Group("read_uncommitted", apart=True)


async def test_a_fetch_does_not_hold_up_other_partitions(hosted: Hosted) -> None:
    """aiokafka has one fetch in flight for each broker, and Faust lets it wait for 1.5 s."""
    async with made_by(hosted, ConsumerThread) as ours:
        assert ours._fetch_max_wait_ms == 20
    async with made_by(hosted, driver.AIOKafkaConsumerThread) as theirs:
        assert theirs._fetch_max_wait_ms == 1_500


async def test_a_worker_without_partitions_stays_in_its_group(hosted: Hosted) -> None:
    """aiokafka leaves it after `broker_max_poll_interval` without a fetch, and joins no more."""
    hosted.app.conf.broker_max_poll_interval = 5.0
    async with made_by(hosted, ConsumerThread) as ours:
        assert ours._max_poll_interval_ms > 86_400_000 * 365
    async with made_by(hosted, driver.AIOKafkaConsumerThread) as theirs:
        assert theirs._max_poll_interval_ms == 5_000


# -- what outlives its task -----------------------------------------------------------------------


class Noted(MemoryLog):
    """Remembers what was committed."""

    def __init__(self) -> None:
        super().__init__(MemoryBroker())
        self.topics: list[str] = []

    async def commit(self, records: Any, changes: Any) -> Receipt:
        self.topics += [each.topic for each in records]
        return await super().commit(records, changes)


class LateFlow(Workflow, workflow="guard"):
    """Its step does not let itself be stopped, and shows and returns something all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()
        self.ended = asyncio.Event()

    @step
    async def stubborn(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await ctx.store.set("late", 1)
            await ctx.write_event_to_stream(JokeEvent(joke="late"))
        finally:
            self.ended.set()
        return StopEvent()


def charter_of(flow: Workflow, stream: Any = None) -> StepGroupSettings:
    topics = Topics("fleet", "guard", "main")
    return StepGroupSettings(
        graph=definition.graph(type(flow)),
        topics=topics,
        workflow=lambda: flow,
        slots=Slots(10),
        stream=stream,
        observer=Metrics(topics),
        dedupe_days=1,
        resume_days=1,
    )


@dataclass
class Late:
    """What a step that outlives its task leaves behind."""

    committed: list[str]
    state: dict[bytes, bytes]
    shown: list[Event]


@pytest.fixture
async def late() -> Late:
    """A task that was closed while such a step was in flight."""
    flow, log, store, shown = LateFlow(), Noted(), MemoryStore(), []

    class Stream:
        async def write(self, work: Any, attempt_id: str, number: int, event: Event) -> None:
            shown.append(event)

    step_group = charter_of(flow, Stream())
    task = Task(step_group, 0, log, store, lambda *_: None)
    task.restore()
    task.begin()
    tp = TP(step_group.topics.event("StartEvent"), 0)
    task.intake.deliver(delivered(start_record(tp, 0)))
    await flow.began.wait()
    await task.commits.finish()
    before = dict(store.items(b""))
    log.topics.clear()
    await task.close()
    await flow.ended.wait()
    await asyncio.sleep(0)
    return Late(log.topics, dict(set(store.items(b"")) - set(before.items())), shown)


async def test_a_step_that_outlives_its_task_commits_nothing(late: Late) -> None:
    """No record, no state: whoever has the partition now runs it again."""
    assert late.committed == []
    assert late.state == {}


async def test_a_step_that_outlives_its_task_shows_nothing(late: Late) -> None:
    """The stream's producer is not fenced, so the step must not reach it."""
    assert late.shown == []


class PairFlow(Workflow, workflow="guard"):
    """Steps that end together."""

    def __init__(self) -> None:
        super().__init__()
        self.began = 0
        self.go_on = asyncio.Event()

    @step
    async def tell(self, ev: StartEvent) -> JokeEvent:
        self.began += 1
        await self.go_on.wait()
        return JokeEvent()

    @step
    async def judge(self, ev: JokeEvent) -> StopEvent:
        return StopEvent()


async def test_a_task_that_broke_commits_nothing_of_what_it_was_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half of a decision would be in the log, and the step would run again beside it."""
    record, taken = Finishing._record, itertools.count(1)

    def breaking(self: Finishing, *outcome: Any) -> StepRecord:
        """Fail while the second step is taken, when its event is decided and its end is not."""
        if next(taken) == 2:
            raise ZeroDivisionError
        return record(self, *outcome)

    monkeypatch.setattr(Finishing, "_record", breaking)
    flow, log = PairFlow(), Noted()
    task = Task(charter_of(flow), 0, log, MemoryStore(), lambda *_: None)
    task.restore()
    task.begin()
    tp = TP(task.step_group.topics.event("StartEvent"), 0)
    for offset in range(2):
        task.intake.deliver(delivered(start_record(tp, offset)))
    while flow.began < 2:  # noqa: ASYNC110 - steps begin in a turn of the loop
        await asyncio.sleep(0)
    await task.commits.finish()
    log.topics.clear()
    flow.go_on.set()
    while task.alive:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    await task.commits.finish()
    await task.close()

    assert log.topics == []


# -- transactions ---------------------------------------------------------------------------------


async def test_a_hung_transaction_ends_after_ten_seconds() -> None:
    """aiokafka lets the broker wait for a minute."""
    log = KafkaLog(Clients(Settings(broker="kafka://127.0.0.1:1")), "t", 0, "s")
    stock = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", transactional_id="t")
    threaded: Any = log._producer
    both = threaded._make()._producer, stock
    timeouts = [each._txn_manager.transaction_timeout_ms for each in both]
    for each in both:
        each._closed = True

    assert timeouts == [10_000, 60_000]


# -- readers --------------------------------------------------------------------------------------


def lax_readers(source: str) -> Iterator[int]:
    """Yield the lines where a consumer is made that reads what is not committed."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _name(node.func) in ("AIOKafkaConsumer", "KafkaReader"):
            given = {each.arg: each.value for each in node.keywords}
            level = given.get("isolation_level")
            if not (isinstance(level, ast.Constant) and level.value == "read_committed"):
                yield node.lineno


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def test_whoever_reads_our_topics_reads_what_is_committed() -> None:
    """Every consumer that the package makes says so; the group's is checked above."""
    package = Path(fleet.__file__).parent
    files = {file: list(lax_readers(file.read_text())) for file in package.rglob("*.py")}

    assert any("KafkaReader(" in file.read_text() for file in files)
    assert {file.name: lines for file, lines in files.items() if lines} == {}


def test_every_reader_of_ours_ends_when_it_is_stopped() -> None:
    """aiokafka's own consumer may wait for ever: nobody in the package makes one."""
    package = Path(fleet.__file__).parent
    assert not [
        file.name for file in package.rglob("*.py") if "AIOKafkaConsumer(" in file.read_text()
    ]


@pytest.mark.parametrize(
    "source",
    [
        "AIOKafkaConsumer(topic)",
        "aiokafka.AIOKafkaConsumer(isolation_level='read_uncommitted')",
    ],
)
def test_a_reader_that_does_not_say_so_is_seen(source: str) -> None:
    """By default aiokafka reads what is aborted, too."""
    assert list(lax_readers(source)) == [1]


# -- local state ----------------------------------------------------------------------------------


def test_a_folder_can_be_opened_again_while_somebody_looks_through_it(tmp_path: Path) -> None:
    """What is handed out is a copy, so a partition that comes back finds its folder free."""
    store = RocksStore(tmp_path / "rocks")
    store.write({b"a": b"1", b"b": b"2"}, 1)
    looking = store.items(b"")
    next(looking)
    store.close()
    again = RocksStore(tmp_path / "rocks")
    again.close()

    assert list(looking)


def test_without_the_copy_a_folder_that_is_locked_is_seen(tmp_path: Path) -> None:
    """An iterator of RocksDB holds the lock of a database that was closed."""
    store = RocksStore(tmp_path / "rocks")
    store.write({b"a": b"1", b"b": b"2"}, 1)
    looking = store._db.items()
    next(looking)
    store.close()

    with pytest.raises(StateInUse, match="one data folder is for one process"):
        RocksStore(tmp_path / "rocks")
    del looking


# -- logs -----------------------------------------------------------------------------------------


@pytest.fixture
def loggers() -> Iterator[None]:
    """Logging as it was before, afterwards."""
    names = ("", *logs._BUSY)
    before = {name: logging.getLogger(name).level for name in names}
    handlers = logging.getLogger().handlers[:]
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger().handlers[:] = handlers


def test_the_kafka_client_says_nothing_for_each_record(loggers: None) -> None:
    """Whatever level the worker is given, aiokafka builds no lines of debugging."""
    logging.config.dictConfig(logs.logging_config("json"))
    logging.getLogger().setLevel(logging.DEBUG)

    assert not logging.getLogger("aiokafka.conn").isEnabledFor(logging.DEBUG)


def client_line(text: str) -> logging.LogRecord:
    return logging.LogRecord("aiokafka.client", logging.WARNING, "", 0, text, ("g",), None)


def test_an_ordinary_rebalance_is_no_warning() -> None:
    """aiokafka warns of each heartbeat in it; what is not routine is said."""
    repeated = logs.Repeated("aiokafka")
    routine = "Heartbeat failed for group %s because it is rebalancing"
    assert not repeated.filter(client_line(routine))
    assert routine in inspect.getsource(group_coordinator)
    assert repeated.filter(client_line("Heartbeat failed: local member_id was not recognized"))


def test_a_clock_that_is_set_back_silences_nobody() -> None:
    """A line may come again after a while, whatever the machine's clock says then."""
    repeated = logs.Repeated("aiokafka", seconds=0)
    first, second = client_line("gone"), client_line("gone")
    second.created = first.created - 3_600

    assert repeated.filter(first)
    assert repeated.filter(second)


def test_without_it_a_client_that_talks_is_seen(loggers: None) -> None:
    """Its loggers have no level of their own."""
    config = logs.logging_config("json")
    del config["loggers"]
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)
    logging.config.dictConfig(config)
    logging.getLogger().setLevel(logging.DEBUG)

    assert logging.getLogger("aiokafka.conn").isEnabledFor(logging.DEBUG)


# -- apps of other people -------------------------------------------------------------------------


async def test_an_app_that_skips_what_is_out_of_range_is_refused() -> None:
    """Behind the log's beginning its consumer would go on at the end: all between is lost."""
    app = faust.App("latest", broker="kafka://127.0.0.1:1", consumer_auto_offset_reset="latest")

    with pytest.raises(AppUnusable, match="earliest"):
        transport.install(app)


def test_an_app_of_another_driver_is_refused() -> None:
    """Our guards are in Faust's aiokafka driver, and in force nowhere else."""
    app = faust.App("confluent", broker="confluent://127.0.0.1:1")

    with pytest.raises(AppUnusable, match="use kafka://"):
        transport.install(app)


def test_an_app_that_has_begun_to_consume_is_refused() -> None:
    """Its consumer is Faust's own, without any of our guards."""
    app = faust.App("begun", broker="kafka://127.0.0.1:1")
    app._consumer = object()  # type: ignore[assignment]

    with pytest.raises(AppUnusable, match="has started already"):
        transport.install(app)


# -- the list -------------------------------------------------------------------------------------


def test_the_page_names_tests_and_files_that_are_there() -> None:
    """docs/host.md is read when something has changed, so it must not be older than the code."""
    root = Path(__file__).parents[3]
    page = (root / "docs" / "host.md").read_text()
    tests = set(re.findall(r"`(test_[a-z0-9_]+)`", page))
    there = {name for file in (root / "tests").rglob("*.py") for name in functions(file)}
    guards = set(re.findall(r"`([a-z_]+)\.[A-Z]\w+", page)) - {"faust"}

    assert len(tests) > 30
    assert tests - there == set()
    files = {file.stem for file in (root / "fleet").rglob("*.py")}
    assert guards - files == set()


def functions(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
