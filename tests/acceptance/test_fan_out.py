"""
A fan-out that costs money, on a real broker: what is paid is not paid again.

The provider counts the calls. A branch is finished when its result is in the log; only a branch
that is not may be asked again, after a failed run was resumed or a worker was killed.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count, pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import bare
import pytest
from native import eventually
from paying_flow import OutOfOrder, PayingFlow, Receipt
from provider import Payment, Provider, served
from workers import SUPPORT, WorkerProcess

from fleet import connect
from fleet.client.connection import Connection
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance, pytest.mark.timeout(400)]

BRANCHES = 102
KILLED_BRANCHES = 240
KILLS = 5
#: `num_workers` of the step that pays.
WORKERS_OF_THE_STEP = 8
#: Calls on their way at a worker before it is killed.
IN_FLIGHT = 4
PATIENCE_SECONDS = 90.0
RUN_ID = "order"


class Shop:
    """A prefix of its own, its workers, and the provider that they pay."""

    def __init__(self, broker: Broker, folder: Path, provider: Provider) -> None:
        self.provider = provider
        self.settings = Settings(
            broker=broker.address, prefix=f"paying{uuid4().hex[:8]}", data_dir=folder, partitions=2
        )
        self.workers: dict[str, WorkerProcess] = {}
        self._bootstrap = broker.bootstrap
        self._folder = folder
        self._numbers = count(1)
        self._environment = {
            "FLEET_BROKER": broker.address,
            "FLEET_PREFIX": self.settings.prefix,
            "FLEET_PARTITIONS": "2",
            "FLEET_DATA_DIR": str(folder),
        }

    def hire(self) -> None:
        """Start a worker with a state of its own."""
        name = f"worker-{next(self._numbers)}"
        self.workers[name] = WorkerProcess(
            "paying_flow",
            self._folder / f"{name}.log",
            WORKER_NAME=name,
            PAYING_URL=self.provider.url,
            **{**self._environment, "FLEET_DATA_DIR": str(self._folder / name)},
        )

    async def kill_the_busy(self, answered: int) -> None:
        """Kill the worker that has calls on their way, once so many are answered."""

        async def busy() -> str:
            enough = self.provider.answered() >= answered
            names = [each for each in self.workers if self.provider.open_by(each) >= IN_FLIGHT]
            return names[0] if enough and names else ""

        name = await eventually(busy, PATIENCE_SECONDS)
        self.workers.pop(name).kill()
        self.hire()

    def stop(self) -> None:
        """End all workers."""
        for worker in self.workers.values():
            worker.stop()

    async def redrive(self) -> None:
        """Resume the failed run as an operator does, and wait for its end."""
        command = ["dead", "redrive", "paying_flow:PayingFlow", "--all", "--wait", "--yes"]
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("fleet"),
            *(*command, "--reason", "the provider is repaired"),
            env={**os.environ, **self._environment, "PYTHONPATH": str(SUPPORT)},
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
        assert process.returncode == 0, said.decode()

    async def paid(self) -> dict[int, float]:
        """Return when the result of each branch was written to the log, by number."""
        records = await bare.read(self._bootstrap, f"{self.settings.prefix}.paying.Paid")
        paid = {int(_number(each)): each.timestamp / 1000 for each in records}
        assert len(paid) == len(records), "a branch has two results"
        return paid

    async def lifecycle(self) -> list[tuple[str, float]]:
        """Return what became of the run, and when."""
        records = await bare.read(self._bootstrap, f"{self.settings.prefix}.paying.runs")
        return [(bare.header(each, "fleet-type"), each.timestamp / 1000) for each in records]


def _number(record: Any) -> str:
    value: bytes = record.value
    return value.decode().partition(":")[2].strip(" }")


@asynccontextmanager
async def _shop(
    broker: Broker, folder: Path, workers: int
) -> AsyncIterator[tuple[Shop, Connection[Receipt]]]:
    async with served(latency_seconds=0.3) as provider:
        shop = Shop(broker, folder, provider)
        try:
            for _ in range(workers):
                shop.hire()
            async with connect(PayingFlow, settings=shop.settings, timeout=300) as flow:
                yield shop, flow
        finally:
            shop.stop()


@pytest.mark.parametrize("broken", [0, BRANCHES // 2, BRANCHES - 1])
async def test_a_resumed_run_pays_for_what_was_not_finished(
    kafka_broker: Broker, tmp_path: Path, broken: int
) -> None:
    """The failed branch, those that had not begun, and those on their way: never a finished one."""
    async with _shop(kafka_broker, tmp_path, workers=1) as (shop, flow):
        shop.provider.broken = {broken}
        with pytest.raises(OutOfOrder, match=f"out of order: {broken}"):
            await flow.run(run_id=RUN_ID, branches=BRANCHES)
        before = len(shop.provider.payments)
        shop.provider.broken = set()

        await shop.redrive()

        result = await flow.run(run_id=RUN_ID, branches=BRANCHES)
        assert sorted(result.numbers) == list(range(BRANCHES))
        resumed = dict(await shop.lifecycle())["resumed"]
        finished = {number for number, at in (await shop.paid()).items() if at < resumed}
        again = sorted(each.number for each in shop.provider.payments[before:])
        assert again == sorted(set(range(BRANCHES)) - finished)
        # Those before the failed one were finished, but for the last that were on their way.
        assert len(finished) >= broken - WORKERS_OF_THE_STEP


async def test_a_fan_out_under_five_kills_pays_twice_for_what_was_in_flight_alone(
    kafka_broker: Broker, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """In flight when its worker died or lost the partition. The join begins once, with all."""
    async with _shop(kafka_broker, tmp_path, workers=2) as (shop, flow):
        handler = flow.run(run_id=RUN_ID, branches=KILLED_BRANCHES)
        for number in range(KILLS):
            await shop.kill_the_busy((number + 1) * KILLED_BRANCHES // (KILLS + 2))

        result = await handler

        assert sorted(result.numbers) == list(range(KILLED_BRANCHES))
        ends = [kind for kind, _ in await shop.lifecycle()]
        assert ends.count("completed") == 1
        payments = shop.provider.payments
        moves, twice, paid = _moves(payments), _paid_twice(payments), await shop.paid()
        record_property("moves, paid twice", (len(moves), len(twice)))
        assert KILLS <= len(moves) <= 2 * KILLS + 1
        assert len(twice) >= KILLS * IN_FLIGHT
        assert [each for each in twice if not _was_in_flight(*each, moves, paid)] == []
        assert len(twice) <= WORKERS_OF_THE_STEP * len(moves)


def _moves(payments: list[Payment]) -> list[float]:
    """Return when another worker than before made its first call: the run had moved to it."""
    return [other.at for one, other in pairwise(payments) if one.worker != other.worker]


def _paid_twice(payments: list[Payment]) -> list[tuple[Payment, Payment]]:
    """Return each call beside the one before it for the same branch."""
    before: dict[int, Payment] = {}
    found = []
    for payment in payments:
        if payment.number in before:
            found.append((before[payment.number], payment))
        before[payment.number] = payment
    return found


def _was_in_flight(
    first: Payment, second: Payment, moves: list[float], paid: dict[int, float]
) -> bool:
    """Tell whether the run moved between two calls for a branch, before its result was written."""
    return any(first.at < move <= second.at and move < paid[first.number] for move in moves)
