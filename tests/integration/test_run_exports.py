"""A run that failed on Kafka, exported, fails the same way without a broker and a paid call."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import judged_flow
import pytest
from judged_flow import JudgedFlow
from workers import SUPPORT, WorkerProcess

from fleet import connect
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.dev.llm import ScriptedProcess, start_process
from fleet.records.exported.run_export import RunExport
from fleet.testing import replay

pytestmark = pytest.mark.kafka

FLOW = "judged_flow:JudgedFlow"


@pytest.fixture
def llm(tmp_path: Path) -> Iterator[ScriptedProcess]:
    """The model; it counts what it is asked."""
    process = start_process(log=tmp_path / "llm.log", latency_seconds=0)
    yield process
    process.stop()


async def test_it_fails_the_same_way(
    kafka_broker: Broker, llm: ScriptedProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own error, from the answer that the step has refused."""
    notes, prefix = tmp_path / "notes", f"judged{uuid4().hex[:8]}"
    environment = {
        "FLEET_BROKER": kafka_broker.address,
        "FLEET_PREFIX": prefix,
        "FLEET_PARTITIONS": "2",
        "OPENAI_BASE_URL": llm.base_url,
        "JUDGED_NOTES": str(notes),
    }
    data = {"FLEET_DATA_DIR": str(tmp_path / "data")}
    worker = WorkerProcess("judged_flow", tmp_path / "worker.log", **environment, **data)
    settings = Settings(broker=kafka_broker.address, prefix=prefix, partitions=2)
    try:
        async with connect(JudgedFlow, settings=settings) as flow:
            with pytest.raises(ValueError, match="cats at 7: no verdict in") as failure:
                await flow.run(topic="cats", run_id="r-17")
        path = exported(tmp_path, environment)
        drawn = tmp_path / "run.html"
        fleet(environment, "draw", FLOW, "--run", "r-17", "--to", str(drawn))
    finally:
        worker.stop()
    requests = llm.stats()["requests"]
    llm.stop()
    assert (requests, notes.read_text().split()) == (2, ["write", "judge", "price"])

    assert 'class="node step failed"' in drawn.read_text()
    run = RunExport.of(path)
    assert (run.outcome, run.missing) == ("failed", [])
    assert [record.envelope.type for record in run.events] == ["StartEvent", "Draft"]
    again = tmp_path / "again"
    monkeypatch.setenv("JUDGED_NOTES", str(again))
    monkeypatch.setenv("OPENAI_BASE_URL", llm.base_url)
    with pytest.raises(ValueError, match="cats at 7") as replayed:
        await replay(path, judged_flow.JudgedFlow)
    assert str(replayed.value) == str(failure.value)
    assert again.read_text().split() == ["judge"]


def exported(folder: Path, environment: dict[str, str]) -> Path:
    """Write the run's export with the command; return its file."""
    path = folder / "run.json"
    path.write_text(fleet(environment, "runs", "export", FLOW, "r-17"))
    return path


def fleet(environment: dict[str, str], *arguments: str) -> str:
    """Return what the command prints."""
    command = [str(Path(sys.executable).with_name("fleet")), *arguments]
    environment = {**os.environ, **environment, "PYTHONPATH": str(SUPPORT)}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return done.stdout
