"""A workflow on the user's own Faust app, in a script that starts and ends."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import bare
import pytest
from workers import SUPPORT

from fleet.dev.kafka import Broker

pytestmark = pytest.mark.kafka


def run_script(broker: Broker, name: str, folder: Path) -> Any:
    done = subprocess.run(
        [sys.executable, str(SUPPORT / "embedded_script.py"), broker.address, name, str(folder)],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return json.loads(done.stdout)


async def test_a_script_runs_a_workflow_on_its_own_app(
    kafka_broker: Broker, tmp_path: Path
) -> None:
    """Results are typed and each run's own; failures are the step's; the topics are the app's."""
    name = f"app{uuid4().hex[:8]}"

    shown = await asyncio.to_thread(run_script, kafka_broker, name, tmp_path)

    assert shown["result"] == "good: a joke about pirates"
    assert shown["many"] == [f"good: a joke about {number}" for number in range(50)]
    assert shown["failure"][0] == "nothing to laugh at"
    assert "in step judge of run " in shown["failure"][1]
    jokes = await bare.read(kafka_broker.bootstrap, f"embedded.{name}.joke.JokeEvent")
    assert len(jokes) == 52


async def test_a_script_can_be_run_again(kafka_broker: Broker, tmp_path: Path) -> None:
    """The app leaves its group and its state in order, so the next run goes on from there."""
    name = f"app{uuid4().hex[:8]}"

    first = await asyncio.to_thread(run_script, kafka_broker, name, tmp_path)
    second = await asyncio.to_thread(run_script, kafka_broker, name, tmp_path)

    assert first == second | {"failure": first["failure"]}
