"""Resources of a worker process, and of an app of your own: shared, and closed at its stop."""

import asyncio
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from native import eventually
from workers import SUPPORT, WorkerProcess

from fleet import connect
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker

pytestmark = pytest.mark.kafka


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What happens in the worker; the flow's module asks for it when it is imported."""
    path = tmp_path / "resources.txt"
    path.touch()
    monkeypatch.setenv("RESOURCE_LOG", str(path))
    return path


async def _waits(log: Path) -> bool:
    return "step waits" in log.read_text()


async def test_a_worker_closes_its_resources_after_its_last_step(
    kafka_broker: Broker, tmp_path: Path, log: Path
) -> None:
    """At SIGTERM the step in flight ends first, and its result is committed."""
    from resource_flow import ResourceFlow  # noqa: PLC0415 - it reads the variable

    prefix = f"test{uuid4().hex[:8]}"
    settings = Settings(broker=kafka_broker.address, prefix=prefix, data_dir=tmp_path)
    variables = {
        "FLEET_BROKER": kafka_broker.address,
        "FLEET_PREFIX": prefix,
        "FLEET_DATA_DIR": str(tmp_path),
    }
    worker = WorkerProcess("resource_flow", tmp_path / "worker.log", **variables)
    try:
        async with connect(ResourceFlow, settings=settings, timeout=60) as flow:
            results = await asyncio.gather(*(flow.run() for _ in range(10)))
            assert results == ["session of pool"] * 10
            last = flow.run(waits=True)
            await eventually(lambda: _waits(log))
            assert await asyncio.to_thread(worker.terminate) == 0
            assert await last == "session of pool"
    finally:
        worker.stop()
    told = log.read_text().split("\n")
    assert told.count("pool opens") == told.count("pool closes") == 1
    assert told.count("session opens") == told.count("session closes") == 11
    assert told[-5:] == ["step waits", "step ends", "session closes", "pool closes", ""]


async def test_an_app_of_your_own_closes_them_with_its_loop(
    kafka_broker: Broker, tmp_path: Path, log: Path
) -> None:
    """A script ends, and nothing stays open."""
    name = f"app{uuid4().hex[:8]}"
    script = [sys.executable, str(SUPPORT / "resource_flow.py")]
    await asyncio.to_thread(
        subprocess.run,
        [*script, kafka_broker.address, name, str(tmp_path)],
        capture_output=True,
        timeout=100,
        check=True,
    )
    lines = log.read_text().splitlines()
    assert lines.count("session opens") == lines.count("session closes") == 10
    assert lines[-2:] == ["main ends", "pool closes"]
