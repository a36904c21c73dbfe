"""`run_sync` on Kafka: on an app of one's own, and with workers elsewhere."""

from pathlib import Path
from uuid import uuid4

import faust
import pytest
from timer_flow import Judgement, TimerFlow
from workers import WorkerProcess

from fleet import WorkflowConfigurationError, connect
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker

pytestmark = pytest.mark.kafka


def test_a_script_calls_workers(kafka_broker: Broker, tmp_path: Path) -> None:
    """Each call has a connection of its own; results are typed, failures are the step's."""
    prefix = f"sync{uuid4().hex[:8]}"
    settings = Settings(broker=kafka_broker.address, prefix=prefix, data_dir=tmp_path)
    variables = {"FLEET_BROKER": kafka_broker.address, "FLEET_PREFIX": prefix}
    worker = WorkerProcess(
        "timer_flow", tmp_path / "worker.log", FLEET_DATA_DIR=str(tmp_path), **variables
    )
    flow = connect(TimerFlow, settings=settings, timeout=60)
    try:
        for topic in ("cats", "dogs"):
            expected = Judgement(verdict=f"good: a joke about {topic}", topic=topic)
            assert flow.run_sync(topic=topic) == expected
        with pytest.raises(LookupError, match="nothing to laugh at"):
            flow.run_sync(topic="bad taste")
    finally:
        worker.stop()


def test_a_script_runs_on_its_own_app_once(kafka_broker: Broker, tmp_path: Path) -> None:
    """The app is stopped after the run; what to do for a second one is said at once."""
    app = faust.App(f"app{uuid4().hex[:8]}", broker=kafka_broker.address, datadir=str(tmp_path))
    flow = TimerFlow(app=app, timeout=60)
    assert flow.run_sync(topic="cats").topic == "cats"
    assert app.should_stop
    with pytest.raises(WorkflowConfigurationError, match="an app runs once; make a new"):
        flow.run_sync(topic="dogs")
