"""Steps that block their worker, log, and write to stdout: what their worker says."""

import json
from pathlib import Path
from uuid import uuid4

import pytest
import scrape
from native import eventually
from rude_flow import BLOCKED_SECONDS, RudeFlow
from workers import WorkerProcess

from fleet import connect
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker

pytestmark = pytest.mark.kafka


@pytest.mark.timeout(120)
async def test_a_worker_says_which_step_blocks_it_and_whose_lines_are_whose(
    kafka_broker: Broker, tmp_path: Path
) -> None:
    """The watch has step, run, line and a metric; log lines their step; stdout is a real file."""
    prefix = f"rude{uuid4().hex[:8]}"
    worker = WorkerProcess(
        "rude_flow",
        tmp_path / "worker.log",
        FLEET_BROKER=kafka_broker.address,
        FLEET_PREFIX=prefix,
        FLEET_DATA_DIR=str(tmp_path),
        FLEET_LOG_FORMAT="json",
    )
    settings = Settings(broker=kafka_broker.address, prefix=prefix, data_dir=tmp_path)
    try:
        async with connect(RudeFlow, settings=settings, timeout=90) as flow:
            assert await flow.run(run_id="rude-1") == 1
        # The watch looks four times a second.
        await eventually(lambda: _went_on(worker), 30)
        page = worker.metrics()
    finally:
        worker.stop()

    output = worker.output().splitlines()
    said = [json.loads(line) for line in output if line.startswith("{")]
    events = {line["event"]: line for line in said}
    blocked = events["event_loop_blocked"]
    assert (blocked["step"], blocked["run_id"]) == ("block", "rude-1")
    assert "rude_flow.py:" in blocked["at"]
    assert events["event_loop_went_on"]["seconds"] > BLOCKED_SECONDS / 2
    lost = scrape.value(page, "fleet_event_loop_blocked_seconds_total", step="block")
    assert lost > BLOCKED_SECONDS / 2
    for own in ("a line of the step", "a line of its thread"):
        assert (events[own]["step"], events[own]["run_id"]) == ("speak", "rude-1")
    assert {"written by the step", "echoed by a child", "bytes of the step"} <= set(output)


async def _went_on(worker: WorkerProcess) -> bool:
    return "event_loop_went_on" in worker.output()
