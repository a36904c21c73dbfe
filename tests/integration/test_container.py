"""Kafka as a container: the official image instead of the embedded broker."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy
from timer_flow import TimerFlow
from workers import WorkerProcess

from fleet import connect
from fleet.config.settings import Settings

pytestmark = pytest.mark.container

IMAGE = "apache/kafka:4.1.0"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def no_engine() -> str:
    """Say why no container can be run, or nothing where one can."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    asked = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    return asked.stderr.strip().splitlines()[-1] if asked.returncode else ""


@pytest.fixture
def address() -> Iterator[str]:
    reason = no_engine()
    if reason:
        pytest.skip(f"no container engine runs here: {reason}")
    port = free_port()
    container = (
        DockerContainer(IMAGE)
        .with_bind_ports(9092, port)
        .with_env("KAFKA_NODE_ID", "1")
        .with_env("KAFKA_PROCESS_ROLES", "broker,controller")
        .with_env("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093")
        .with_env("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER")
        .with_env(
            "KAFKA_LISTENERS",
            "PLAINTEXT://0.0.0.0:9092,INSIDE://localhost:19092,CONTROLLER://localhost:9093",
        )
        .with_env(
            "KAFKA_ADVERTISED_LISTENERS",
            f"PLAINTEXT://127.0.0.1:{port},INSIDE://localhost:19092",
        )
        .with_env(
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT",
        )
        # The broker asks itself whether a transaction is open. Where it cannot reach its own
        # address, producers are told NOT_ENOUGH_REPLICAS and try again without end.
        .with_env("KAFKA_INTER_BROKER_LISTENER_NAME", "INSIDE")
        .with_env("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1")
        .with_env("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1")
        .with_env("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1")
        .waiting_for(LogMessageWaitStrategy("Kafka Server started"))
    )
    with container:
        yield f"kafka://127.0.0.1:{port}"


async def test_runs_go_through_kafka_in_a_container(address: str, tmp_path: Path) -> None:
    """A worker and a caller use a broker in a container as they use any other."""
    prefix = f"container{uuid4().hex[:8]}"
    variables = {"FLEET_BROKER": address, "FLEET_PREFIX": prefix, "FLEET_DATA_DIR": str(tmp_path)}
    worker = WorkerProcess("timer_flow", tmp_path / "worker.log", **variables)
    settings = Settings(broker=address, prefix=prefix, data_dir=tmp_path)
    try:
        async with connect(TimerFlow, settings=settings, timeout=90) as flow:
            results = await asyncio.gather(*(flow.run(topic=str(n)) for n in range(20)))
    finally:
        worker.stop()

    assert [result.topic for result in results] == [str(n) for n in range(20)]
