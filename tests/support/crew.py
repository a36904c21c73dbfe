"""The worker processes of one cell of the fault table, each in a place with a folder of its own."""

import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from workers import WorkerProcess

from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.dev.llm import ScriptedProcess


@dataclass(frozen=True, slots=True)
class Member:
    """A worker process: a place is manned by one after the other, and a name is used once."""

    name: str
    place: int
    worker: WorkerProcess


class Crew:
    """Workers of `fault_flow` under a prefix of its own."""

    def __init__(self, broker: Broker, llm: ScriptedProcess, folder: Path) -> None:
        self.bootstrap = broker.bootstrap
        self.folder = folder
        self.prefix = f"faults{uuid4().hex[:8]}"
        self.settings = Settings(broker=broker.address, prefix=self.prefix, data_dir=folder)
        self.members: list[Member] = []
        self._everybody: list[Member] = []
        self._numbers = count(1)
        self._variables = {
            "FLEET_BROKER": broker.address,
            "FLEET_PREFIX": self.prefix,
            "OPENAI_BASE_URL": llm.base_url,
            "OPENAI_API_KEY": "scripted",
        }

    def topic(self, name: str) -> str:
        """Return the name of a topic of the workflow."""
        return f"{self.prefix}.fault.{name}"

    def hire(self, place: int) -> Member:
        """Start a worker in *place*, with the state that the last one there left."""
        name = f"worker-{next(self._numbers)}"
        worker = WorkerProcess(
            "fault_flow",
            self.folder / f"{name}.log",
            WORKER_NAME=name,
            FLEET_DATA_DIR=str(self.state_of(place)),
            **self._variables,
        )
        member = Member(name, place, worker)
        self.members.append(member)
        self._everybody.append(member)
        return member

    def state_of(self, place: int) -> Path:
        """Return the folder that whoever works in *place* has its state in."""
        return self.folder / f"place-{place}"

    def dismiss(self, member: Member) -> None:
        """Forget a member that has ended or is about to."""
        self.members.remove(member)

    def wipe(self, place: int) -> None:
        """Delete the state of *place*."""
        shutil.rmtree(self.state_of(place))

    def stop(self) -> None:
        """End every process that was ever started here, also a frozen one."""
        for member in self._everybody:
            member.worker.stop()

    async def settled(self) -> bool:
        """Whether the group has as many members as the crew, each with something assigned to it."""
        admin: Any = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            [response] = await admin.describe_consumer_groups([self.topic("main")])
        except KafkaError:  # no coordinator yet
            return False
        finally:
            await admin.close()
        # Error, group, state, protocol type, protocol, members; of each its assignment last.
        [(_, _, state, _, _, members, *_)] = response.groups
        return state == "Stable" and len([each for each in members if each[-1]]) == len(
            self.members
        )
