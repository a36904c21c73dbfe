"""Steps that take longer than Kafka waits for a worker, and time limits of frozen workers."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import bare
import pytest
from long_flow import LongFlow
from test_membership import Group, joined, said

from fleet.client.connection import Connection
from fleet.dev.kafka import Broker
from fleet.records import envelope as envelopes
from fleet.workflow.errors import StepTimeoutError

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

#: Kafka waits less than the step takes: for a poll, for a member that joins, for a heartbeat.
IMPATIENT = {
    "LONG_POLL_SECONDS": "3",
    "LONG_REBALANCE_SECONDS": "4",
    "FLEET_SESSION_SECONDS": "6",
}


@pytest.fixture
def group(kafka_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Group]:
    # All runs are in one partition, so one worker has them all.
    monkeypatch.setenv("FLEET_PARTITIONS", "1")
    group = Group(kafka_broker, tmp_path)
    yield group
    group.stop()


def connect(group: Group) -> Connection:
    return group.connect(LongFlow)


def begun(group: Group, name: str) -> list[int]:
    """Return in which workers a step has begun, once for each attempt."""
    return [
        worker.process.pid
        for worker in group.workers
        for _ in range(worker.output().count(f"answering {name}"))
    ]


async def test_a_step_may_take_longer_than_kafka_waits(group: Group) -> None:
    """Also while the group is rebalanced: it is begun once, and its worker stays a member.

    Another one waits for a slot meanwhile. A worker that has no partition stays a member, too, and
    has the partition when the first one dies.
    """
    first = group.worker("long_flow", LONG_SECONDS="8", FLEET_SLOTS="1", **IMPATIENT)
    async with connect(group) as flow:
        running = flow.run(name="long")
        await said(first, lambda output: "answering long" in output)
        waiting = flow.run(name="next")
        assignments = joined(first)
        second = group.worker("long_flow", **IMPATIENT)
        await said(second, lambda output: "Executing _on_partitions_assigned" in output)
        await said(first, lambda _: joined(first) > assignments)
        joined_by_then = joined(first)

        assert await running == first.process.pid
        assert await waiting == first.process.pid

        assert begun(group, "long") == begun(group, "next") == [first.process.pid]
        assert joined(first) == joined_by_then

        first.kill()
        assert await flow.run() == second.process.pid


async def test_a_time_limit_that_passes_in_a_frozen_worker_fails_nothing(group: Group) -> None:
    """The step runs elsewhere. That its time is up is noticed when nobody hears of it any more."""
    frozen = group.worker("long_flow", LONG_SECONDS="600", LONG_TIMEOUT="3")
    async with connect(group) as flow:
        running = flow.run(name="frozen")
        await said(frozen, lambda output: "answering frozen" in output)
        frozen.freeze()
        other = group.worker("long_flow", LONG_SECONDS="1")
        result = await running
        frozen.wake()
        # It has noticed that it lost its place, and the step with it.
        await said(frozen, lambda _: joined(frozen) > 1)
        assert await flow.run() in (frozen.process.pid, other.process.pid)

    assert result == other.process.pid
    assert begun(group, "frozen") == [frozen.process.pid, other.process.pid]
    assert "failed" not in await ends(group)


async def test_a_time_limit_counts_while_a_worker_is_frozen_and_keeps_its_place(
    group: Group,
) -> None:
    """Frozen for less than a session: the step's time is up when the worker wakes."""
    worker = group.worker(
        "long_flow", LONG_SECONDS="600", LONG_TIMEOUT="3", FLEET_SESSION_SECONDS="30"
    )
    async with connect(group) as flow:
        running = flow.run(name="late")
        await said(worker, lambda output: "answering late" in output)
        worker.freeze()
        await asyncio.sleep(4)
        worker.wake()

        with pytest.raises(StepTimeoutError, match="longer than its timeout of 3 seconds"):
            await running

    assert begun(group, "late") == [worker.process.pid]
    assert joined(worker) == 1


async def ends(group: Group) -> list[str]:
    """Return the kinds of the ends in the log."""
    records = await bare.read(group.broker.bootstrap, f"{group.prefix}.long.runs")
    kinds = [envelopes.parse(record.headers).type for record in records]
    return [kind for kind in kinds if kind in ("completed", "failed", "timed_out")]
