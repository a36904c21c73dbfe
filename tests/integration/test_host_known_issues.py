"""
The known issues of our host on a real broker, each with its guard and without it.

A scenario is a function that says what happened. With the guard nothing is lost. Taken out in the
test, so that the host does what it does by itself, the same scenario shows the loss; so each test
here can fail. The list of issues, guards and tests is docs/host.md.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bare
import native
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from own_topics import OwnTopics

from fleet import Context, StartEvent, StopEvent, Workflow, serve, step
from fleet.api.serving import FleetApp
from fleet.api.step_group import on_kafka
from fleet.client.caller import Caller
from fleet.client.handler import WorkflowHandler
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.engine.ends_index import INDEX
from fleet.engine.log import Receipt, RecordsRefused, TaskLost
from fleet.engine.step_group import Engine
from fleet.engine.transitions import sizes
from fleet.host import lost_tasks, watches
from fleet.host.engines import Engines
from fleet.host.lost_tasks import LostTasks
from fleet.host.record_loop import RecordLoop
from fleet.kafka import backend, provision, transactional_log
from fleet.kafka.clients import Clients
from fleet.kafka.loading import KafkaLoader
from fleet.kafka.provision import TopicsMismatched
from fleet.kafka.rocks import RocksStore
from fleet.kafka.transactional_log import KafkaLog
from fleet.kafka.transport import KafkaTransport
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import Completed, Started
from fleet.records.log import Outgoing
from fleet.records.partitions import partition_of
from fleet.records.topics import Topics
from fleet.workflow import definition

pytestmark = pytest.mark.kafka

KEY = b"run"


class EchoFlow(Workflow, workflow="echo"):
    """One step, whose runs are noted; a topic that is a number makes a result of that size."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[str] = []

    @step
    async def echo(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.ran.append(ctx.run_id)
        topic = ev.get("topic")
        return StopEvent(result="x" * topic if isinstance(topic, int) else topic)


@dataclass
class Kafka(OwnTopics):
    """The broker, and names that only this test uses."""

    folder: Path
    partitions: int = 1

    @property
    def settings(self) -> Settings:
        return Settings(
            broker=self.broker.address,
            prefix=self.name,
            data_dir=self.folder,
            partitions=self.partitions,
        )

    @property
    def topics(self) -> Topics:
        return Topics(self.name, EchoFlow.workflow_name, EchoFlow.group_name)

    @contextlib.asynccontextmanager
    async def log(self, kind: type[KafkaLog] = KafkaLog, name: str = "") -> AsyncIterator[KafkaLog]:
        """A task's log, started."""
        name = name or f"{self.name}-{kind.__name__}"
        log = kind(Clients(self.settings), name, 0, f"{self.name}-state")
        await log.start()
        try:
            yield log
        finally:
            await log.close()


@pytest.fixture
def kafka(kafka_broker: Broker, tmp_path: Path) -> Kafka:
    return Kafka(kafka_broker, tmp_path)


def outgoing(topic: str, value: bytes) -> Outgoing:
    return Outgoing(topic, KEY, value, [])


async def opened(log: KafkaLog, *records: Outgoing) -> None:
    """Begin a transaction and leave it open."""
    await log._producer.append(log._batches(records))


async def closed(log: KafkaLog) -> None:
    """Commit the open transaction, where the broker lets us."""
    with contextlib.suppress(TaskLost):
        await log._end(commit=True)


# -- transactions ---------------------------------------------------------------------------------


class Unawaited(KafkaLog):
    """Commits without a look at the records' acknowledgements, as aiokafka lets you."""

    async def _transaction(self, records: list[Outgoing]) -> Receipt:
        with contextlib.suppress(KafkaError):
            await self._producer.append(self._batches(records))
        await self._producer.end(commit=True)
        return Receipt(0, 0)


async def refused_record(kafka: Kafka, kind: type[KafkaLog]) -> tuple[str, list[bytes | None]]:
    """Commit two records of which the broker refuses one; return the end and what is visible."""
    good = await kafka.topic("good")
    small = await kafka.topic("small", **{"max.message.bytes": "1000"})
    async with kafka.log(kind) as log:
        try:
            await log._transaction([outgoing(good, b"good"), outgoing(small, b"x" * 5_000)])
            end = "committed"
        except RecordsRefused as refused:
            end = str(refused)
        visible = await kafka.values(good)
        if end != "committed":
            await log.commit([outgoing(good, b"next")], {})
            assert await kafka.values(good) == [*visible, b"next"]
    return end, visible


async def test_a_refused_record_takes_its_whole_transaction_along(kafka: Kafka) -> None:
    """Nothing of it is visible, the reason is told, and the log goes on with the next one."""
    end, visible = await refused_record(kafka, KafkaLog)

    assert "MessageSizeTooLargeError" in end
    assert visible == []


async def test_without_awaiting_records_the_rest_is_committed_is_seen(kafka: Kafka) -> None:
    """aiokafka commits what the broker took: the refused record is lost without a word."""
    end, visible = await refused_record(kafka, Unawaited)

    assert end == "committed"
    assert visible == [b"good"]


async def test_the_largest_record_that_is_let_through_is_taken(kafka: Kafka) -> None:
    """What passes the check before the commit, the broker takes, several in one commit."""
    topic = await kafka.topic("large")
    header = b"h" * (sizes.MAX_RECORD_BYTES - sizes.MAX_VALUE_BYTES - len(KEY) - 1)
    value = b"v" * sizes.MAX_VALUE_BYTES
    async with kafka.log() as log:
        await log._transaction([Outgoing(topic, KEY, value, [("h", header)])] * 3)

    assert await kafka.values(topic) == [value] * 3


async def test_a_predecessor_is_fenced_and_leaves_nothing(kafka: Kafka) -> None:
    """Once the next log of the name has started, the older one commits nothing, open or new."""
    topic = await kafka.topic("good")
    async with kafka.log(name=kafka.name) as old:
        await opened(old, outgoing(topic, b"open"))
        async with kafka.log(name=kafka.name) as new:
            await closed(old)
            with pytest.raises(TaskLost):
                await old.commit([outgoing(topic, b"late")], {})
            await new.commit([outgoing(topic, b"new")], {})

    assert await kafka.values(topic) == [b"new"]


async def test_without_the_tasks_name_a_zombie_that_commits_is_seen(kafka: Kafka) -> None:
    """With an id of its own for each producer both commit: what the zombie did is there twice."""
    topic = await kafka.topic("good")
    async with kafka.log(name=f"{kafka.name}-1") as old:
        await opened(old, outgoing(topic, b"open"))
        async with kafka.log(name=f"{kafka.name}-2") as new:
            await closed(old)
            await new.commit([outgoing(topic, b"new")], {})

    assert await kafka.values(topic) == [b"open", b"new"]


async def test_a_hung_worker_holds_readers_until_its_timeout_only(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The timeout that we ask for is the broker's: then it ends the transaction and fences."""
    topic = await kafka.topic("good")
    monkeypatch.setattr(transactional_log, "TRANSACTION_TIMEOUT_MS", 500)
    async with kafka.log(name=f"{kafka.name}-hung") as hung:
        await opened(hung, outgoing(topic, b"hung"))
        async with kafka.log(name=f"{kafka.name}-other") as other:
            await other.commit([outgoing(topic, b"behind")], {})
        held = await kafka.values(topic)
        await native.eventually(lambda: kafka.values(topic), seconds=20)
        await closed(hung)

    assert held == []
    assert await kafka.values(topic) == [b"behind"]


# -- taking a partition over ----------------------------------------------------------------------


@contextlib.asynccontextmanager
async def engine_of(kafka: Kafka) -> AsyncIterator[Engine]:
    """An engine with its topics, which owns nothing yet."""
    engine = on_kafka(EchoFlow(), kafka.topics, kafka.settings)
    await engine.open(kafka.folder / "engine")
    try:
        yield engine
    finally:
        await engine.close()


async def taken_over(kafka: Kafka) -> tuple[bytes | None, list[bytes | None]]:
    """Take a partition over while its last owner's transaction is open, and let that one end.

    Return what the new owner has loaded, and what the state's changelog holds in the end.
    """
    state = kafka.topics.state
    async with engine_of(kafka) as engine, kafka.log(name=f"{kafka.topics.engine_id}-0") as old:
        await opened(old, Outgoing(state, KEY, b"last words", []))
        await engine.assign({0})
        await asyncio.gather(*(each.running for each in engine.openings.values() if each.running))
        await closed(old)
        loaded = engine.tasks[0].ledger.get(KEY)
        records = await bare.read(kafka.broker.bootstrap, state)
        return loaded, [record.value for record in records if record.key == KEY]


async def test_a_partition_is_loaded_when_nobody_else_can_write_it(kafka: Kafka) -> None:
    """The producer is started first: the last owner's open transaction is decided before."""
    assert await taken_over(kafka) == (None, [])


class StartedLater(KafkaLog):
    """Takes the transactional id only when there is something to commit."""

    async def start(self) -> None:
        """Leave the last owner alone."""

    async def commit(self, *_: object) -> Receipt:
        raise TaskLost(self._name, "not part of this scenario")


async def test_without_the_producer_first_a_state_that_is_outrun_is_seen(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded before, the state lacks what its last owner commits then: work would be done twice."""
    monkeypatch.setattr(backend, "KafkaLog", StartedLater)

    assert await taken_over(kafka) == (None, [b"last words"])


def entries(store: RocksStore) -> dict[bytes, bytes]:
    """What a store has of its changelog."""
    return {key: each for key, each in store.items(b"") if key and not key.startswith(INDEX)}


class Kept(RocksStore):
    """A folder that is never thrown away."""

    def reset(self) -> None:
        """Keep what is there."""


async def no_time() -> int:
    """Whoever asks for the time here would write to the log."""
    raise AssertionError


async def loaded_ahead(kafka: Kafka, kind: type[RocksStore]) -> dict[bytes, bytes]:
    """Load a log of two records into a folder that is at offset 50 of a log that was before."""
    topic = await kafka.topic("state")
    async with kafka.log() as log:
        await log.commit([], {b"a": b"1", b"b": b"2"})
    store = kind(kafka.folder / "rocks" / kind.__name__)
    store.write({b"old": b"junk"}, 50)
    try:
        async with KafkaLoader(Clients(kafka.settings), 0) as loader:
            await loader.load_state(topic, store, no_time)
        return entries(store)
    finally:
        store.close()


async def test_a_folder_that_is_ahead_of_its_log_is_made_anew(kafka: Kafka) -> None:
    """The topic was made anew: what the folder has is of another log."""
    assert await loaded_ahead(kafka, RocksStore) == {b"a": b"1", b"b": b"2"}


async def test_without_a_new_folder_the_state_of_another_log_is_seen(kafka: Kafka) -> None:
    """Nothing of the log is loaded, and what was before it counts on."""
    assert await loaded_ahead(kafka, Kept) == {b"old": b"junk"}


async def test_a_folder_of_another_log_that_is_longer_is_made_anew(kafka: Kafka) -> None:
    """The topic was made anew and has grown past the offset of the folder."""
    topic = await kafka.topic("state")
    store = RocksStore(kafka.folder / "rocks")
    store.write({b"old": b"junk"}, 1)
    async with kafka.log() as log:
        await log.commit([], {b"a": b"1", b"b": b"2"})
    try:
        async with KafkaLoader(Clients(kafka.settings), 0) as loader:
            await loader.load_state(topic, store, no_time)
        assert entries(store) == {b"a": b"1", b"b": b"2"}
    finally:
        store.close()


# -- what is not committed ------------------------------------------------------------------------


class Uncommitted(Clients):
    """Readers as aiokafka makes them by default."""

    def reader(self, **options: Any) -> Any:
        made = super().reader(**options)
        made._isolation_level = "read_uncommitted"
        return made


async def loaded_beside_aborted(kafka: Kafka, clients: Clients) -> list[bytes]:
    """Load a state whose log has one record that is committed, one aborted and one open."""
    topic = await kafka.topic("state")
    store = RocksStore(kafka.folder / "rocks" / type(clients).__name__)
    async with kafka.log() as log:
        await log.commit([], {b"committed": b"1"})
        await opened(log, outgoing(topic, b"aborted"))
        await log._producer.end(commit=False)
        await opened(log, Outgoing(topic, b"open", b"1", []))
        try:
            async with KafkaLoader(clients, 0) as loader:
                await loader.load_state(topic, store, no_time)
            return list(entries(store))
        finally:
            store.close()


async def test_a_state_is_loaded_from_what_is_committed(kafka: Kafka) -> None:
    """Aborted and open transactions are no state."""
    assert await loaded_beside_aborted(kafka, Clients(kafka.settings)) == [b"committed"]


async def test_without_read_committed_loaders_aborted_state_is_seen(kafka: Kafka) -> None:
    """By default aiokafka hands out everything."""
    found = await loaded_beside_aborted(kafka, Uncommitted(kafka.settings))

    assert set(found) > {b"committed"}


def lifecycle_record(topics: Topics, happening: Completed | Started) -> Outgoing:
    envelope = Envelope(run_id="r", event_id="e", type=happening.kind)
    return Outgoing(topics.runs, b"r", happening.encode(), envelope.headers())


def completed(result: str) -> Completed:
    return Completed(step="echo", event_type="StopEvent", event=f'{{"result":"{result}"}}')


async def heard_by_caller(kafka: Kafka, clients: Clients) -> str:
    """Abort one result of a run and commit another; return the one that its caller gets."""
    topics, settings = kafka.topics, kafka.settings
    await provision.ensure(topics, definition.graph(EchoFlow), settings)
    transport = KafkaTransport(settings, topics, settings.partitions, clients)
    caller = Caller(EchoFlow, topics, transport)
    await transport.start(caller)
    try:
        handler = caller.run(StartEvent(topic="x"), "r", 30)
        (start,) = await native.eventually(
            lambda: bare.read(kafka.broker.bootstrap, topics.event("StartEvent"))
        )
        started = Started(start_event_id=bare.header(start, "fleet-event-id"))
        async with kafka.log(name=f"{kafka.name}-owner") as log:
            await log.commit([lifecycle_record(topics, started)], {})
            await opened(log, lifecycle_record(topics, completed("aborted")))
            await log._producer.end(commit=False)
            await log.commit([lifecycle_record(topics, completed("committed"))], {})
        result: str = await handler
        return result
    finally:
        caller.shut()
        await transport.stop()


async def test_a_caller_hears_what_is_committed(kafka: Kafka) -> None:
    """A result that was aborted is nobody's result."""
    assert await heard_by_caller(kafka, Clients(kafka.settings)) == "committed"


async def test_without_read_committed_callers_an_aborted_result_is_seen(kafka: Kafka) -> None:
    """The first record that is there would be taken for the run's end."""
    assert await heard_by_caller(kafka, Uncommitted(kafka.settings)) == "aborted"


# -- a real app -----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def serving(
    kafka: Kafka, flow: EchoFlow | None = None
) -> AsyncIterator[tuple[FleetApp, EchoFlow]]:
    """A worker in this process."""
    flow = flow or EchoFlow()
    app = serve(flow, settings=kafka.settings)
    app.conf.web_enabled = False
    await app.start()
    try:
        yield app, flow
    finally:
        await app.stop()
        # It is the process's, which goes on here.
        assert app._locked is not None
        app._locked.release()


@contextlib.asynccontextmanager
async def calling(kafka: Kafka) -> AsyncIterator[Caller]:
    """A caller of the workflow, whose topics are there."""
    partitions = await provision.ensure(kafka.topics, definition.graph(EchoFlow), kafka.settings)
    transport = KafkaTransport(kafka.settings, kafka.topics, partitions)
    caller = Caller(EchoFlow, kafka.topics, transport)
    await transport.start(caller)
    try:
        yield caller
    finally:
        caller.shut()
        await transport.stop()


#: How long a run that ends is waited for, and one that does not, in seconds.
PATIENT, IMPATIENT = 40.0, 2.0


async def end_of(handler: WorkflowHandler[Any], seconds: float) -> Any:
    """What a run ends with, or "nothing" when that takes too long."""
    try:
        return await asyncio.wait_for(asyncio.shield(handler._result), seconds)
    except TimeoutError:
        return "nothing"
    except Exception as failure:  # noqa: BLE001 - what it ends with
        return failure


async def start_of(kafka: Kafka, run_id: str) -> None:
    """Return when the run's start event is in the log."""
    topic = kafka.topics.event("StartEvent")

    async def there() -> bool:
        records = await bare.read(kafka.broker.bootstrap, topic)
        return run_id in map(bare.run_id, records)

    await native.eventually(there)


async def commit_to_the_end(kafka: Kafka) -> None:
    """Move the group's offsets to the end of all that it reads, whatever is done of it."""
    group = AIOKafkaConsumer(
        bootstrap_servers=kafka.broker.bootstrap,
        group_id=kafka.topics.engine_id,
        enable_auto_commit=False,
    )
    await group.start()
    try:
        read = kafka.topics.consumed(definition.graph(EchoFlow).accepting)
        tps = [TopicPartition(each, 0) for each in read]
        group.assign(tps)
        await group.commit(await group.end_offsets(tps))
    finally:
        await group.stop()


async def ran_with_offsets_beyond(kafka: Kafka) -> list[str]:
    """Start a worker whose group has "read" a run that nobody has run; return what it runs.

    Another one was there before: a group with offsets and without a state is refused.
    """
    async with calling(kafka) as caller:
        async with serving(kafka):
            await caller.run(StartEvent(topic="x"), "first", 60)
        caller.run(StartEvent(topic="x"), "early", 60)
        await start_of(kafka, "early")
        await commit_to_the_end(kafka)
        async with serving(kafka) as (_, flow):
            assert await caller.run(StartEvent(topic="x"), "late", 60) == "x"
            return flow.ran


async def test_offsets_beyond_unfinished_work_lose_nothing(kafka: Kafka) -> None:
    """The state says what is done: a task is read from its own position, not from the group's."""
    assert await ran_with_offsets_beyond(kafka) == ["early", "late"]


async def test_without_the_seek_offsets_that_lose_a_run_is_seen(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Faust has sought to, what is before the group's offsets is never run."""

    async def from_the_offsets(self: RecordLoop) -> None:
        if self._consumer.flow_active:
            live = self._consumer.host.live
            live.begin(live.starting(self._consumer.assignment()))

    monkeypatch.setattr(RecordLoop, "_go_live", from_the_offsets)

    assert await ran_with_offsets_beyond(kafka) == ["late"]


async def result_after_a_lost_log(kafka: Kafka, seconds: float) -> tuple[Any, list[str]]:
    """Fence a running worker's task as nobody's successor; return how its next run ends."""
    async with calling(kafka) as caller, serving(kafka) as (app, flow):
        await caller.run(StartEvent(topic="x"), "first", 60)
        async with kafka.log(name=f"{kafka.topics.engine_id}-0"):
            handler = caller.run(StartEvent(topic="x"), "second", 60)
            await native.eventually(lambda: _lost(app))
        return await end_of(handler, seconds), flow.ran


async def _lost(app: FleetApp) -> list[int]:
    return app.host.engines.first.lost


@pytest.fixture
def soon_reopened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "WATCH_SECONDS", 1.0)
    monkeypatch.setattr(lost_tasks, "REOPEN_SECONDS", 0.0)


async def test_a_lost_task_begins_anew(kafka: Kafka, soon_reopened: None) -> None:
    """Where no rebalance takes its partition, the task starts again and runs what was in flight."""
    result, ran = await result_after_a_lost_log(kafka, PATIENT)

    assert result == "x"
    assert ran == ["first", "second", "second"]


async def test_without_reopening_a_partition_that_stands_still_is_seen(
    kafka: Kafka, soon_reopened: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust knows nothing of a producer that is fenced: the partition is nobody's."""

    async def leave(_: LostTasks) -> None:
        """Do nothing."""

    monkeypatch.setattr(LostTasks, "reopen", leave)

    result, ran = await result_after_a_lost_log(kafka, IMPATIENT)

    assert result == "nothing"
    assert ran == ["first", "second"]


async def ends_with_a_large_one(kafka: Kafka, seconds: float) -> tuple[Any, Any]:
    """Return how a run with a result of 2 MB ends, and the one behind it."""
    async with calling(kafka) as caller, serving(kafka):
        await caller.run(StartEvent(topic="x"), "first", 60)
        large = caller.run(StartEvent(topic=2_000_000), "large", 60)
        behind = caller.run(StartEvent(topic="x"), "behind", 60)
        ended = await asyncio.gather(end_of(large, seconds), end_of(behind, seconds))
        return ended[0], ended[1]


async def test_a_result_that_no_record_holds_fails_its_run_alone(kafka: Kafka) -> None:
    """It is found before the commit: the run fails with the reason, and the others go on."""
    large, behind = await ends_with_a_large_one(kafka, PATIENT)

    assert "and a record holds 1,000,000" in str(large)
    assert behind == "x"


async def test_without_the_size_check_the_broker_refuses_the_record_alone(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is found among those of its commit: its run fails, and the others go on."""
    monkeypatch.setattr(sizes, "MAX_VALUE_BYTES", 10_000_000)
    monkeypatch.setattr(sizes, "MAX_RECORD_BYTES", 10_000_000)

    large, behind = await ends_with_a_large_one(kafka, PATIENT)

    assert "MessageSizeTooLargeError" in str(large)
    assert behind == "x"


async def test_topics_that_take_less_than_a_record_are_refused(kafka: Kafka) -> None:
    """So the broker refuses no record that has passed the check."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.broker.bootstrap)
    await admin.start()
    config = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": "500000"}
    await admin.create_topics([NewTopic(kafka.topics.runs, 1, 1, topic_configs=config)])
    await admin.close()

    with pytest.raises(TopicsMismatched, match=r"echo\.runs must take records of 1,048,576 bytes"):
        await provision.ensure(kafka.topics, definition.graph(EchoFlow), kafka.settings)


# -- a real rebalance -----------------------------------------------------------------------------


class SlowFlow(EchoFlow, workflow="echo"):
    """Its step goes on only when it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    @step
    async def echo(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.ran.append(ctx.run_id)
        await self.go_on.wait()
        return StopEvent(result="x")


def run_id_in(partition: int, partitions: int) -> str:
    ids = (f"run-{number}" for number in range(1_000))
    return next(each for each in ids if partition_of(each, partitions) == partition)


Met = Callable[[FleetApp, EchoFlow], bool]


async def moved(kafka: Kafka, when: Met) -> tuple[list[str], list[str]]:
    """Let a second worker join while the first has a step in each of two partitions.

    The first one's steps end *when* something is so. Return what each worker has run.
    """
    kafka.partitions = 2
    first, second = SlowFlow(), EchoFlow()
    async with calling(kafka) as caller, serving(kafka, first) as (app, _):
        run_ids = [run_id_in(partition, 2) for partition in range(2)]
        handlers = [caller.run(StartEvent(topic="x"), each, 60) for each in run_ids]
        await until(lambda: len(first.ran) == 2)
        # Beside the second one's start, which takes as long as the rebalance.
        letting_go = asyncio.create_task(until(lambda: when(app, second)))
        letting_go.add_done_callback(lambda _: first.go_on.set())
        async with serving(kafka, second) as (other, _):
            assert await asyncio.gather(*handlers) == ["x", "x"]
            await until(lambda: sorted([*partitions_of(app), *partitions_of(other)]) == [0, 1])
    return first.ran, second.ran


def partitions_of(app: FleetApp) -> list[int]:
    return list(app.host.engines.first.tasks)


async def until(met: Callable[[], bool]) -> None:
    async def look() -> bool:
        return met()

    await native.eventually(look)


async def test_steps_that_end_in_time_stay_where_they_ran(kafka: Kafka) -> None:
    """Partitions are given up after a moment, so what ends within it is committed there."""
    first, second = await moved(kafka, lambda app, _: bool(app.rebalancing))

    assert len(first) == 2
    assert second == []


async def test_without_the_moment_a_step_that_runs_again_is_seen(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust gives partitions up at once: a step in flight is run again where its partition is."""

    async def at_once(*_: object) -> None:
        """Wait for nothing."""

    monkeypatch.setattr(Engines, "settle", at_once)

    first, second = await moved(kafka, lambda _, second: bool(second.ran))

    assert len(first) == 2
    assert second[0] in first
