"""
A person is asked, and answers much later: on a real broker, over the death of every worker.

The provider counts the calls. Whatever died meanwhile, nothing is paid twice.
"""

import asyncio
import os
import shutil
import sys
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
from approval_flow import AFTERWARDS, ApprovalFlow, Verdict
from native import eventually
from provider import Provider, served
from workers import SUPPORT, WorkerProcess

from fleet import connect
from fleet.config.settings import Settings
from fleet.control.runs import waiting
from fleet.control.source import Source
from fleet.dev.kafka import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance, pytest.mark.timeout(300)]

RUNS = 8
PATIENCE_SECONDS = 90.0


class Office:
    """A prefix of its own, its workers, and the provider that they pay."""

    def __init__(self, broker: Broker, folder: Path, provider: Provider) -> None:
        self.provider = provider
        self.settings = Settings(
            broker=broker.address, prefix=f"office{uuid4().hex[:8]}", data_dir=folder, partitions=2
        )
        self._folder = folder
        self._numbers = count(1)
        self._environment = {
            "FLEET_BROKER": broker.address,
            "FLEET_PREFIX": self.settings.prefix,
            "FLEET_PARTITIONS": "2",
        }
        self._workers: list[WorkerProcess] = []

    def hire(self) -> None:
        """Start a worker with a state of its own."""
        name = f"worker-{next(self._numbers)}"
        worker = WorkerProcess(
            "approval_flow",
            self._folder / f"{name}.log",
            WORKER_NAME=name,
            PAYING_URL=self.provider.url,
            **{**self._environment, "FLEET_DATA_DIR": str(self._folder / name)},
        )
        self._workers.append(worker)

    def burn_down(self) -> None:
        """Kill every worker, and delete all local state."""
        for worker in self._workers:
            worker.kill()
        self._workers = []
        for state in self._folder.glob("worker-*"):
            if state.is_dir():
                shutil.rmtree(state)

    def stop(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.stop()

    async def waiting(self) -> list[waiting.Waiting]:
        """Return who is asked what, as an operator sees it."""
        return await waiting.waiting(Source(ApprovalFlow, self.settings))

    async def answer(self, number: int) -> None:
        """Answer as an operator does."""
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("fleet"),
            *("runs", "send", "approval_flow:ApprovalFlow", f"r{number}", "Verdict"),
            *(f"number={number}", "approved:=true", "--reason", "looked at it"),
            env={**os.environ, **self._environment, "PYTHONPATH": str(SUPPORT)},
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
        assert process.returncode == 0, said.decode()

    def paid(self) -> list[int]:
        """Return the numbers that were paid, each as often as it was."""
        return sorted(each.number for each in self.provider.payments)


async def test_a_human_wait_outlives_every_worker_and_pays_nothing_twice(
    kafka_broker: Broker, tmp_path: Path
) -> None:
    """Answers come while workers run, while none does, and when others run."""
    async with served(latency_seconds=0.05) as provider:
        office = Office(kafka_broker, tmp_path, provider)
        try:
            office.hire()
            office.hire()
            async with connect(ApprovalFlow, settings=office.settings, timeout=200) as flow:
                handlers = [flow.run(run_id=f"r{number}", number=number) for number in range(RUNS)]
                await _until_waiting(office, RUNS)
                await flow.send_event("r0", Verdict(number=0, approved=True))
                assert await handlers[0] == [0, True, AFTERWARDS]

                office.burn_down()
                await office.answer(1)
                office.hire()

                assert await handlers[1] == [1, True, AFTERWARDS + 1]
                waits = await _until_waiting(office, RUNS - 2)
                assert {each.wait.awaits for each in waits} == {"Verdict"}
                assert [each.wait.requirements["number"] for each in waits] == [
                    int(each.run_id[1:]) for each in waits
                ]
                office.burn_down()
                office.hire()
                for number in range(2, RUNS):
                    await flow.send_event(f"r{number}", Verdict(number=number, approved=False))
                for number, handler in enumerate(handlers[2:], 2):
                    assert await handler == [number, False, AFTERWARDS + number]
                await _until_waiting(office, 0)
            every = [*range(RUNS), *range(AFTERWARDS, AFTERWARDS + RUNS)]
            assert office.paid() == every
        finally:
            office.stop()


async def _until_waiting(office: Office, runs: int) -> list[waiting.Waiting]:
    async def found() -> bool:
        return len(await office.waiting()) == runs

    await eventually(found, PATIENCE_SECONDS)
    return await office.waiting()
