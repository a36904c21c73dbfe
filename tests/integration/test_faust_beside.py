"""Faust's agents, tables, timers and pages beside a workflow, in real workers on a real broker."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import bare
import native
import pytest
from beside_flow import BesideFlow, JokeEvent
from workers import SUPPORT, WorkerProcess

from fleet import StartEvent, connect, serve
from fleet.client.connection import Connection
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.host.agents.topics import AgentTopics, AgentTopicsMissing
from fleet.workflow.errors import WorkflowConfigurationError

pytestmark = pytest.mark.kafka


class Beside:
    """A prefix of its own with workers of `beside_flow`."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker = broker.bootstrap
        self.folder = folder
        self.prefix = f"beside{uuid4().hex[:8]}"
        self.settings = Settings(broker=broker.address, prefix=self.prefix, data_dir=folder)
        self.group = f"{self.prefix}.beside.main"
        self.workers: list[WorkerProcess] = []

    def worker(self, **variables: str) -> WorkerProcess:
        started = WorkerProcess(
            "beside_flow",
            self.folder / f"worker-{len(self.workers)}.log",
            FLEET_BROKER=self.settings.broker,
            FLEET_PREFIX=self.prefix,
            FLEET_DATA_DIR=str(self.folder),
            COUNT_FILE=str(self.folder / "count"),
            SEEN_FILE=str(self.folder / "seen"),
            **variables,
        )
        self.workers.append(started)
        return started

    def connect(self) -> Connection:
        return connect(BesideFlow, settings=self.settings, timeout=60)

    def topic(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def lines(self, name: str) -> list[str]:
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []

    async def send(self, topic: str, *pairs: tuple[str, str]) -> None:
        await native.send(self.broker, self.topic(topic), pairs)

    async def counted(self) -> dict[str, list[int]]:
        """What the counting agent sent for each word, in order."""
        found: dict[str, list[int]] = {}
        # Made by the agent's first message.
        await native.eventually(lambda: native.partitions(self.broker, self.topic("counted")))
        for record in await bare.read(self.broker, self.topic("counted")):
            found.setdefault(bare.run_id(record), []).append(json.loads(record.value or b""))
        return found

    async def counted_to(self, expected: dict[str, int]) -> None:
        async def reached() -> bool:
            last = {word: several[-1] for word, several in (await self.counted()).items()}
            return last == expected

        await native.eventually(reached)

    async def seen(self, count: int) -> list[str]:
        async def enough() -> list[str]:
            lines = self.lines("seen")
            return lines if len(lines) >= count else []

        return await native.eventually(enough)

    async def acknowledged(self, topic: str) -> None:
        async def done() -> bool:
            return not any((await native.lag(self.broker, self.group, topic)).values())

        await native.eventually(done)

    def steps(self) -> Counter[str]:
        return Counter(self.lines("count"))

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()


@pytest.fixture
def beside(kafka_broker: Broker, tmp_path: Path) -> Iterator[Beside]:
    beside = Beside(kafka_broker, tmp_path)
    yield beside
    beside.stop()


def expected_steps(runs: list[str]) -> Counter[str]:
    """Each step of each run, once."""
    return Counter(f"{run} {name}" for run in runs for name in ("tell", "judge"))


async def run_all(beside: Beside, topics: list[str]) -> None:
    async with beside.connect() as flow:
        results = await asyncio.gather(*(flow.run(topic=topic, run_id=topic) for topic in topics))
    assert results == [f"good: a joke about {topic}" for topic in topics]


async def test_agents_work_beside_a_workflow(beside: Beside) -> None:
    """Agent, table, timer, page and monitor do their work, and so do runs."""
    worker = beside.worker()

    await beside.send("words", *[(f"w{n % 5}", "count") for n in range(50)], ("w0", "forget"))
    await run_all(beside, [f"run-{number}" for number in range(20)])
    await beside.counted_to({"w0": 0, "w1": 10, "w2": 10, "w3": 10, "w4": 10})

    with urllib.request.urlopen(f"http://localhost:{worker.port}/beside") as answer:
        shown = json.loads(answer.read())
    assert shown["ticks"] > 0
    assert shown["messages"] >= 51
    assert set(beside.steps().values()) == {1}


async def test_messages_of_agents_are_acknowledged(beside: Beside) -> None:
    """The group's offsets of an agent's topic get to its end, with and without a restart."""
    first = beside.worker()
    await beside.send("words", *[(f"w{n}", "count") for n in range(100)])
    await beside.acknowledged(beside.topic("words"))
    assert first.terminate() == 0
    beside.worker()
    await beside.send("words", ("w0", "count"))

    await beside.acknowledged(beside.topic("words"))

    counted = await beside.counted()
    # At least once: a rebalance between a message and its offset gives it again.
    assert counted.keys() == {f"w{n}" for n in range(100)}
    assert counted["w0"][:2] == [1, 2]


@pytest.mark.parametrize("store", ["memory://", "rocksdb://"])
@pytest.mark.parametrize("keep", [True, False], ids=["folder kept", "folder deleted"])
async def test_a_table_is_recovered(beside: Beside, store: str, keep: bool) -> None:
    """After a restart a table has what it had, deleted keys excepted, and runs go on."""
    first = beside.worker(TABLE_STORE=store)
    words = [(f"w{n % 10}", "count") for n in range(100)]
    await beside.send("words", *words, ("w9", "forget"))
    await run_all(beside, ["before"])
    await beside.acknowledged(beside.topic("words"))
    assert first.terminate() == 0
    if not keep:
        shutil.rmtree(beside.folder / "workers")
    beside.worker(TABLE_STORE=store)

    await beside.send("words", *[(f"w{n}", "count") for n in range(10)])
    await run_all(beside, ["after", "before"])

    await beside.counted_to({f"w{n}": 11 for n in range(9)} | {"w9": 1})
    assert beside.steps() == expected_steps(["before", "after"])


@pytest.mark.parametrize("store", ["memory://", "rocksdb://"])
async def test_tables_and_tasks_move_between_workers(beside: Beside, store: str) -> None:
    """A second worker comes and goes while messages and runs are under way: nothing is lost."""
    first = beside.worker(TABLE_STORE=store)
    words = [(f"w{n}", "count") for n in range(20)]
    await beside.send("words", *words * 5)
    second = beside.worker(TABLE_STORE=store)
    coming = [f"coming-{number}" for number in range(300)]
    await asyncio.gather(run_all(beside, coming), beside.send("words", *words * 5))
    await native.eventually(lambda: _works(second))
    going = [f"going-{number}" for number in range(300)]
    running = asyncio.create_task(run_all(beside, going))
    await beside.send("words", *words * 5)
    assert await asyncio.to_thread(second.terminate) == 0
    await running
    await beside.send("words", *words)
    await beside.acknowledged(beside.topic("words"))

    counted = await beside.counted()

    assert first.process.poll() is None
    # Faust's own guarantee: each message at least once.
    assert {word for word, several in counted.items() if several[-1] >= 16} == {
        word for word, _ in words
    }
    assert beside.steps().keys() == expected_steps([*coming, *going]).keys()
    # Committed once each, whichever worker ran them.
    jokes = await bare.read(beside.broker, f"{beside.prefix}.beside.JokeEvent")
    assert len(jokes) == 600


async def _works(worker: WorkerProcess) -> bool:
    return "task_loaded" in worker.output()


async def test_an_agent_that_does_not_keep_up_holds_no_workflow(beside: Beside) -> None:
    """With an agent's buffer full, and more waiting for it, runs go on."""
    beside.worker(STUCK_COUNT="1")
    await beside.send("words", *[("w0", "count")] * 10_000)

    await run_all(beside, [f"run-{number}" for number in range(50)])

    held = await native.lag(beside.broker, beside.group, beside.topic("words"))
    assert sum(held.values()) == 10_000


async def test_an_agent_reads_a_workflows_events_typed(beside: Beside) -> None:
    """The agent has each event of the workflow once, with its run id."""
    beside.worker()
    topics = [f"run-{number}" for number in range(100)]

    await run_all(beside, topics)

    assert sorted(await beside.seen(100)) == sorted(f"{run} a joke about {run}" for run in topics)


async def test_an_agent_starts_runs_by_its_sink(beside: Beside) -> None:
    """What an agent yields into the topic of the start event starts a run of its own."""
    beside.worker()

    await beside.send("orders", ("a", "pirates"), ("b", "cats"), ("c", "dogs"))

    seen = await beside.seen(3)
    assert {line.split(maxsplit=1)[1] for line in seen} == {
        "a joke about pirates",
        "a joke about cats",
        "a joke about dogs",
    }
    assert len({line.split()[0] for line in seen}) == 3


async def test_a_stuck_agent_holds_its_offsets_and_not_the_workflow(beside: Beside) -> None:
    """Runs go on beside it; after a restart it has its events, and no step is run again."""
    first = beside.worker(STUCK="1")
    topics = [f"run-{number}" for number in range(50)]
    jokes = f"{beside.prefix}.beside.JokeEvent"

    await run_all(beside, topics)
    await run_all(beside, ["one-more"])
    await beside.acknowledged(beside.topic("words"))
    (stuck,) = await beside.seen(1)
    held = await native.lag(beside.broker, beside.group, jokes)
    assert first.terminate() == 0
    beside.worker()
    seen = await beside.seen(52)

    assert stuck.endswith(" stuck")
    assert any(held.values())
    assert sorted(seen) == sorted(
        [stuck, *(f"{run} a joke about {run}" for run in [*topics, "one-more"])]
    )
    assert set(beside.steps().values()) == {1}


async def test_garbage_does_not_stop_an_agent(beside: Beside) -> None:
    """A record that is no event is a dead letter of the workflow, and the agent passes it over."""
    beside.worker()
    await run_all(beside, ["first"])
    await native.send(beside.broker, f"{beside.prefix}.beside.JokeEvent", [("first", "garbage")])

    await run_all(beside, [f"run-{number}" for number in range(20)])

    assert len(await beside.seen(21)) == 21


async def test_an_event_is_fed_to_a_run(beside: Beside) -> None:
    """`send` writes key, partition and envelope: the run's steps take the event."""
    app = serve(BesideFlow, settings=beside.settings)
    try:
        await app.workflow.topic(StartEvent).send(run_id="fed", value=StartEvent(topic="pirates"))
    finally:
        await app.producer.stop()
    beside.worker()

    async with beside.connect() as flow:
        assert await flow.run(run_id="fed", topic="pirates") == "good: a joke about pirates"

    assert beside.steps() == expected_steps(["fed"])


async def test_an_embedded_app_and_a_fleet_do_not_meet(beside: Beside) -> None:
    """Of one class on one broker, each step of each run runs once, on its own side."""
    beside.worker()
    script = asyncio.create_task(
        asyncio.create_subprocess_exec(
            sys.executable,
            SUPPORT / "beside_script.py",
            beside.settings.broker,
            f"{beside.prefix}-app",
            beside.folder / "app",
            "100",
            stdout=subprocess.PIPE,
            env={**os.environ, "COUNT_FILE": str(beside.folder / "count-embedded")},
        )
    )
    await run_all(beside, [f"fleet-{number}" for number in range(100)])
    output, _ = await (await script).communicate()
    shown = json.loads(output)

    topics = [f"embedded-{number}" for number in range(100)]
    assert shown["results"] == [f"good: a joke about {topic}" for topic in topics]
    assert shown["seen"] == sorted(f"{run} a joke about {run}" for run in [*topics, "fed"])
    assert beside.steps() == expected_steps([f"fleet-{number}" for number in range(100)])
    embedded = Counter(beside.lines("count-embedded"))
    assert embedded - Counter(["fed judge"]) == expected_steps([*topics, "fed"]) - Counter(
        ["fed judge"]
    )
    assert len(await beside.seen(100)) == 100


async def test_wrong_uses_of_a_workflow_topic_are_refused(beside: Beside) -> None:
    """Each says what is wrong and what to write."""
    flow = serve(BesideFlow, settings=beside.settings).workflow

    with pytest.raises(WorkflowConfigurationError, match="has no topics in memory"):
        BesideFlow().topic(JokeEvent)
    with pytest.raises(WorkflowConfigurationError, match="no step accepts it; there are JokeEvent"):
        flow.topic(type("Other", (JokeEvent,), {}))
    with pytest.raises(WorkflowConfigurationError, match="takes JokeEvent, not StartEvent"):
        await flow.topic(JokeEvent).send(run_id="r", value=StartEvent())
    with pytest.raises(WorkflowConfigurationError, match="needs a run"):
        await flow.topic(JokeEvent).send(value=JokeEvent(joke="?"))
    with pytest.raises(WorkflowConfigurationError, match=r"use `await flow\.topic"):
        flow.topic(JokeEvent).send_soon(value=JokeEvent(joke="?"))


async def test_missing_topics_of_agents_are_named_elsewhere(beside: Beside) -> None:
    """Where the broker is not on this machine nothing is created, and the error is the recipe."""

    class Elsewhere(Settings):
        @property
        def is_local(self) -> bool:
            return False

    app = serve(BesideFlow, settings=beside.settings)
    app.topic("some-words", partitions=3)
    elsewhere = Elsewhere(**beside.settings.model_dump())

    with pytest.raises(AgentTopicsMissing, match=r"--topic no-such-topic --partitions 8"):
        await AgentTopics(app).ensure(["no-such-topic"], elsewhere)

    assert not await native.partitions(beside.broker, "no-such-topic")
