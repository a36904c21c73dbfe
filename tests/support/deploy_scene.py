"""Workers of several versions of one workflow, runs that keep coming, and what came of them."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import bare
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError
from deploy_flow import Plain
from native import eventually
from workers import WorkerProcess

from fleet import connect
from fleet.client.connection import Connection
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker

#: How long anything may take that has to happen, in seconds.
PATIENCE_SECONDS = 90.0
RUN_SECONDS = 300.0
TERMINAL = ("completed", "failed", "cancelled", "timed_out")


@dataclass
class Outcome:
    """What can be seen of the runs from outside."""

    runs: int = 0
    #: What went wrong, in words.
    wrong: list[str] = field(default_factory=list)
    #: How long each run took, in seconds.
    seconds: list[float] = field(default_factory=list)


class Deployed:
    """One group of `deploy_flow`, in places that are manned by one version after the other."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.prefix = f"deploy{uuid4().hex[:8]}"
        self.workers: dict[int, WorkerProcess] = {}
        self._bootstrap = broker.bootstrap
        self._address = broker.address
        self._folder = folder
        self._everybody: list[WorkerProcess] = []
        self._numbers = count(1)
        self._journal = folder / "journal"
        self._submitted: dict[str, str] = {}
        self._got: dict[str, Any] = {}
        self._seconds: list[float] = []

    def topic(self, name: str) -> str:
        """Return the name of a topic of the workflow."""
        return f"{self.prefix}.deployed.{name}"

    def connect(self) -> Connection[Any]:
        """Connect a caller."""
        settings = Settings(broker=self._address, prefix=self.prefix, data_dir=self._folder)
        return connect(Plain, settings=settings, timeout=RUN_SECONDS)

    # -- deployments ----------------------------------------------------------------------------

    async def man(self, place: int, version: str) -> None:
        """Let a worker of *version* take *place*, after the one that is there has left."""
        former = self.workers.pop(place, None)
        if former is not None:
            assert await asyncio.to_thread(former.terminate) == 0
        number = next(self._numbers)
        self.workers[place] = WorkerProcess(
            "deploy_flow",
            self._folder / f"worker-{number}-{version}.log",
            DEPLOY_VERSION=version,
            DEPLOY_WORKER=f"worker-{number}",
            DEPLOY_JOURNAL=str(self._journal),
            FLEET_BROKER=self._address,
            FLEET_PREFIX=self.prefix,
            FLEET_DATA_DIR=str(self._folder / f"place-{place}"),
        )
        self._everybody.append(self.workers[place])
        await eventually(self._settled, PATIENCE_SECONDS)

    def stop(self) -> None:
        """End every process that was ever started here."""
        for worker in self._everybody:
            worker.stop()

    async def _settled(self) -> bool:
        """Whether all workers are in the group, each with something assigned to it."""
        assigned = await self._assignments()
        return len(assigned) == len(self.workers) and all(assigned)

    async def _assignments(self) -> list[dict[str, list[int]]]:
        """Return what each member of the stable group is assigned; nothing while it is not."""
        admin: Any = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            [response] = await admin.describe_consumer_groups([self.topic("main")])
        except KafkaError:  # no coordinator yet
            return []
        finally:
            await admin.close()
        # Error, group, state, protocol type, protocol, members; of each its assignment last.
        [(_, _, state, _, _, members, *_)] = response.groups
        if state != "Stable" or not all(each[-1] for each in members):
            return []
        return [
            dict(ConsumerProtocolMemberAssignment.decode(each[-1]).assignment) for each in members
        ]

    async def split(self) -> list[str]:
        """Return the topics that a member has other partitions of than of `runs`."""
        return [
            topic
            for member in await self._assignments()
            for topic, partitions in member.items()
            if sorted(partitions) != sorted(member.get(self.topic("runs"), []))
        ]

    # -- runs -----------------------------------------------------------------------------------

    async def feed(self, flow: Connection[Any], per_second: float, until: asyncio.Event) -> None:
        """Start runs at a steady rate *until* something has happened; return when they ended."""
        async with asyncio.TaskGroup() as running:
            while not until.is_set():
                running.create_task(self._run(flow))
                await asyncio.sleep(1 / per_second)

    async def _run(self, flow: Connection[Any]) -> None:
        run_id = f"run-{len(self._submitted)}"
        self._submitted[run_id] = topic = f"topic of {run_id}"
        began = time.monotonic()
        try:
            self._got[run_id] = await flow.run(run_id=run_id, topic=topic)
        except Exception as failure:  # noqa: BLE001 - whatever it is, it is what the caller got
            self._got[run_id] = repr(failure)
        self._seconds.append(time.monotonic() - began)

    # -- what came of it ------------------------------------------------------------------------

    async def outcome(self) -> Outcome:
        """Look at results, topics, attempts and logs."""
        found = Outcome(len(self._submitted), seconds=sorted(self._seconds))
        for run_id, topic in self._submitted.items():
            if self._got.get(run_id) != [topic, topic]:
                found.wrong.append(f"{run_id} gave {self._got.get(run_id)!r}")
        ends = Counter(
            bare.run_id(record)
            for record in await bare.read(self._bootstrap, self.topic("runs"))
            if bare.header(record, "fleet-type") in TERMINAL
        )
        if ends != Counter(dict.fromkeys(self._submitted, 1)):
            found.wrong.append(f"ends: {(ends - Counter(self._submitted.keys())).most_common(5)}")
        for letter in await bare.read(self._bootstrap, self.topic("main.dead")):
            found.wrong.append(f"a dead letter: {bare.header(letter, 'fleet-dead-letter')}")
        attempts = Counter(
            tuple(line.split(" ")[1:3]) for line in self._journal.read_text().splitlines()
        )
        found.wrong += [f"{work} was begun {n} times" for work, n in attempts.items() if n > 1]
        for worker in self._everybody:
            lost = [line for line in worker.output().splitlines() if "task_lost" in line]
            found.wrong += [
                f"{worker.log.name} lost a task to another owner: {each}" for each in lost
            ]
        return found
