"""A worker process on a real broker, and its callers."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import bare
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from timer_flow import JokeEvent, Judgement, TimerFlow
from workers import WorkerProcess

from fleet import (
    WorkflowCancelledByUser,
    WorkflowCancelledEvent,
    WorkflowTimeoutError,
    connect,
)
from fleet.client.connection import Connection
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.kafka.provision import TopicsMismatched
from fleet.records.errors import ExitCode
from fleet.workflow.errors import RunConflict, RunUnknown

pytestmark = pytest.mark.kafka


class Fleet:
    """A prefix of its own on the broker, with workers that end with the test."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        self.prefix = f"test{uuid4().hex[:8]}"
        self.workers: list[WorkerProcess] = []

    @property
    def settings(self) -> Settings:
        return Settings(broker=self.broker.address, prefix=self.prefix, data_dir=self.folder)

    def worker(self, module: str = "timer_flow", loop: str = "", **variables: str) -> WorkerProcess:
        started = WorkerProcess(
            module,
            self.folder / f"worker-{len(self.workers)}.log",
            loop,
            FLEET_BROKER=self.broker.address,
            FLEET_PREFIX=self.prefix,
            FLEET_DATA_DIR=str(self.folder),
            **variables,
        )
        self.workers.append(started)
        return started

    def connect(self) -> Connection:
        return connect(TimerFlow, settings=self.settings, timeout=60)

    def topic(self, name: str) -> str:
        return f"{self.prefix}.timer.{name}"

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()


@pytest.fixture
def fleet(kafka_broker: Broker, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(kafka_broker, tmp_path)
    yield fleet
    fleet.stop()


@pytest.fixture
async def flow(fleet: Fleet) -> AsyncIterator[Connection]:
    async with fleet.connect() as connection:
        yield connection


async def run_all(flow: Connection, topics: list[str]) -> None:
    results = await asyncio.gather(*(flow.run(topic=topic) for topic in topics))
    assert [result.topic for result in results] == topics
    assert [result.verdict for result in results] == [
        f"good: a joke about {topic}" for topic in topics
    ]


async def test_a_run_goes_through_kafka(fleet: Fleet, flow: Connection) -> None:
    """The start event and the event between the steps are on their topics, keyed by run id."""
    fleet.worker()

    result = await flow.run(topic="pirates", run_id="run-1")

    assert result == Judgement(verdict="good: a joke about pirates", topic="pirates")
    for name in ("StartEvent", "JokeEvent"):
        (record,) = await bare.read(fleet.broker.bootstrap, fleet.topic(name))
        assert record.key == b"run-1"
        assert b"pirates" in (record.value or b"")


async def test_records_are_read_however_they_are_compressed(fleet: Fleet) -> None:
    """The worker and its callers each compress differently, also after a restart from the log."""
    worker = fleet.worker(FLEET_COMPRESSION="zstd")
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        settings = fleet.settings.model_copy(update={"compression": codec})
        async with connect(TimerFlow, settings=settings, timeout=60) as flow:
            await run_all(flow, [f"{codec} {number}" for number in range(20)])
            again = await flow.run(topic="before", run_id="ended")
    assert worker.terminate() == 0
    shutil.rmtree(fleet.folder / "workers")
    fleet.worker(FLEET_COMPRESSION="lz4")

    async with fleet.connect() as flow:
        assert await flow.run(topic="before", run_id="ended") == again
    jokes = await bare.read(fleet.broker.bootstrap, fleet.topic("JokeEvent"))
    assert len([record for record in jokes if record.key == b"ended"]) == 1


async def test_500_runs_at_once_get_their_own_results(fleet: Fleet, flow: Connection) -> None:
    """Each of 500 runs at once gets the result of its own input."""
    fleet.worker()

    await run_all(flow, [f"topic {number}" for number in range(500)])


@pytest.mark.parametrize("keep_state", [True, False], ids=["state kept", "state deleted"])
async def test_a_restarted_worker_goes_on(fleet: Fleet, flow: Connection, keep_state: bool) -> None:
    """After a restart, with or without its state folder, runs work and ended ones are known."""
    first = fleet.worker()
    before = await flow.run(topic="before", run_id="ended")
    assert first.terminate() == 0
    if not keep_state:
        shutil.rmtree(fleet.folder / "workers")
    fleet.worker()

    await run_all(flow, [f"topic {number}" for number in range(50)])
    again = await flow.run(topic="before", run_id="ended")

    assert again == before
    jokes = await bare.read(fleet.broker.bootstrap, fleet.topic("JokeEvent"))
    assert len([record for record in jokes if record.key == b"ended"]) == 1


async def test_a_worker_on_uvloop_is_killed_and_another_one_goes_on(
    fleet: Fleet, flow: Connection
) -> None:
    """Runs, a kill among runs, a worker that takes over from what is left, and a clean end."""
    pytest.importorskip("uvloop", reason="the extra `uvloop` is not installed")
    first = fleet.worker(loop="uvloop")
    await run_all(flow, [f"topic {number}" for number in range(200)])
    topics = [f"cut off {number}" for number in range(200)]
    running = [flow.run(topic=topic) for topic in topics]
    await running[0]
    first.kill()
    second = fleet.worker(loop="uvloop")

    assert [(await each).topic for each in running] == topics
    # The first one may have ended them all, and the second one may only begin.
    assert (await flow.run(topic="after")).topic == "after"
    assert second.terminate() == 0


async def test_runs_that_nobody_serves_wait_for_a_worker(fleet: Fleet, flow: Connection) -> None:
    """A run that is started before any worker is up is done by the first one."""
    handler = flow.run(topic="early")
    fleet.worker()

    assert (await handler).topic == "early"


async def test_a_failing_step_is_the_callers_error(fleet: Fleet, flow: Connection) -> None:
    """The original error arrives, of its own type, with the step's name; the event is buried."""
    fleet.worker()

    with pytest.raises(LookupError, match="nothing to laugh at") as caught:
        await flow.run(topic="bad taste", run_id="poor")

    assert "in step judge of run poor" in caught.value.__notes__[0]
    (letter,) = await bare.read(fleet.broker.bootstrap, fleet.topic("main.dead"))
    assert letter.value == b'{"joke":"a joke about bad taste"}'
    assert '"reason":"failed"' in bare.header(letter, "fleet-dead-letter")


async def test_a_run_id_starts_one_run(fleet: Fleet, flow: Connection) -> None:
    """The same id with the same fields gives the first result; with others it is a conflict."""
    fleet.worker()
    handlers = [flow.run(topic="once", run_id="same") for _ in range(5)]

    results = await asyncio.gather(*handlers)
    with pytest.raises(RunConflict, match="run same was started earlier"):
        await flow.run(topic="another", run_id="same")

    assert {result.topic for result in results} == {"once"}
    jokes = await bare.read(fleet.broker.bootstrap, fleet.topic("JokeEvent"))
    assert len(jokes) == 1


async def test_a_cancelled_run_ends(fleet: Fleet, flow: Connection) -> None:
    """Whoever awaits a cancelled run hears it with the reason, and the next run works."""
    fleet.worker(TIMER_SECONDS="30")
    handler = flow.run(topic="long")

    await handler.cancel_run("not needed any more")

    with pytest.raises(WorkflowCancelledByUser, match="not needed any more"):
        await handler


async def test_a_cancel_that_comes_first_wins(fleet: Fleet, flow: Connection) -> None:
    """A run that is cancelled before a worker has seen it starts nothing."""
    handler = flow.run(topic="never", run_id="never")
    await handler.cancel_run("too late for this")
    fleet.worker()

    with pytest.raises(WorkflowCancelledByUser, match="too late for this"):
        await handler

    assert not await bare.read(fleet.broker.bootstrap, fleet.topic("JokeEvent"))


async def test_a_run_is_followed_and_cancelled_from_elsewhere(
    fleet: Fleet, flow: Connection
) -> None:
    """By another connection that has its id; without a worker a cancel counts all the same."""
    async with fleet.connect() as other:
        with pytest.raises(RunUnknown, match="no run nowhere is known"):
            await other.handler("nowhere")
        assert await other.cancel_run("nowhere") == "cancelled"
        fleet.worker(TIMER_SECONDS="600")
        with pytest.raises(WorkflowCancelledByUser):
            await flow.run(topic="late", run_id="nowhere")

        handler = flow.run(topic="long", run_id="long")
        async for _ in _lifecycle(fleet, "started"):
            break
        found = other.handler("long")

        assert await other.cancel_run("long", "enough") == "cancelled"
        for waiting in (handler, found):
            with pytest.raises(WorkflowCancelledByUser, match="enough"):
                await waiting
        assert [type(event) async for event in found.stream_events()] == [WorkflowCancelledEvent]
        assert await other.cancel_run("long", "again") == "cancelled"


async def test_a_run_times_out_at_its_deadline(fleet: Fleet, flow: Connection) -> None:
    """The owner ends a run at its deadline and names the step that was at work."""
    fleet.worker(TIMER_SECONDS="30")

    with pytest.raises(
        WorkflowTimeoutError, match=r"timed out after 1 seconds\. Currently active steps: tell"
    ):
        await flow.run(topic="long", timeout=1)


async def test_a_deadline_survives_the_worker(fleet: Fleet, flow: Connection) -> None:
    """A run whose worker was killed times out with the next worker."""
    first = fleet.worker(TIMER_SECONDS="600")
    handler = flow.run(topic="long", timeout=4)
    async for _ in _lifecycle(fleet, "started"):
        break
    first.kill()
    fleet.worker(TIMER_SECONDS="600")

    with pytest.raises(WorkflowTimeoutError, match="timed out after 4 seconds"):
        await handler


async def test_the_stream_ends_with_the_result(fleet: Fleet, flow: Connection) -> None:
    """A caller sees what steps write, in order, and the result event last."""
    fleet.worker()

    handler = flow.run(topic="shown")
    shown = [event async for event in handler.stream_events()]

    joke = "a joke about shown"
    assert shown == [JokeEvent(joke=joke), Judgement(verdict=f"good: {joke}", topic="shown")]


async def test_a_record_that_is_no_event_stops_nothing(fleet: Fleet, flow: Connection) -> None:
    """Garbage on every input topic becomes dead letters, and runs go on."""
    fleet.worker()
    await flow.run(topic="first")
    inputs = ("StartEvent", "JokeEvent", "runs", "inbox")
    producer = flow._transport._writer._producer
    for name in inputs:
        for partition in range(8):
            await producer.send_and_wait(
                fleet.topic(name), b"\xff garbage", key=b"who?", partition=partition
            )

    await run_all(flow, [f"topic {number}" for number in range(50)])

    letters = await bare.read(fleet.broker.bootstrap, fleet.topic("main.dead"))
    assert len(letters) == len(inputs) * 8


async def test_a_wrong_partition_count_is_said_at_once(fleet: Fleet, kafka_broker: Broker) -> None:
    """A worker and a caller refuse topics whose partition counts differ, and say what to do."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap)
    await admin.start()
    stamped = {"message.timestamp.type": "LogAppendTime"}
    await admin.create_topics(
        [
            NewTopic(fleet.topic("JokeEvent"), 3, 1, topic_configs=stamped),
            NewTopic(fleet.topic("runs"), 8, 1, topic_configs=stamped),
        ]
    )
    await admin.close()

    worker = fleet.worker()
    code = await asyncio.to_thread(worker.process.wait, 60)
    with pytest.raises(TopicsMismatched, match="same number of partitions"):
        await fleet.connect().__aenter__()

    assert code == ExitCode.REFUSED
    assert "Error: all topics of a workflow must have the same number" in worker.output()


async def test_a_broker_that_is_down_is_said_at_once(fleet: Fleet) -> None:
    """A worker without a broker exits with a code of its own and one sentence."""
    worker = WorkerProcess(
        "timer_flow",
        fleet.folder / "down.log",
        FLEET_BROKER="kafka://127.0.0.1:1",
        FLEET_DATA_DIR=str(fleet.folder),
    )

    assert await asyncio.to_thread(worker.process.wait, 60) == 4
    assert "no Kafka broker answers at 127.0.0.1:1" in worker.output()


async def test_a_worker_shows_its_metrics(fleet: Fleet, flow: Connection) -> None:
    """/metrics counts runs by outcome and observes step durations."""
    worker = fleet.worker()
    await flow.run(topic="measured")

    page = await asyncio.to_thread(worker.metrics)

    labels = 'group="main",outcome="returned",step="judge",workflow="timer"'
    assert f"fleet_step_duration_seconds_count{{{labels}}} 1.0" in page


async def _lifecycle(fleet: Fleet, kind: str) -> AsyncIterator[str]:
    while True:
        for record in await bare.read(fleet.broker.bootstrap, fleet.topic("runs")):
            if bare.header(record, "fleet-type") == kind:
                yield kind
        await asyncio.sleep(0.05)
