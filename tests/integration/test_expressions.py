"""
Each expression of dashboards and rules, asked of a real Prometheus that scrapes real workers.

The workers went through what panels are about: runs that end well, fail, are cancelled or time
out; a rebalance, and the loads and stalls that it brings.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from monitoring import Expression, exported, panel_expressions, plain, rules
from prometheus import Prometheus, values
from timer_flow import TimerFlow
from workers import WorkerProcess

from fleet import connect
from fleet.client.connection import Connection
from fleet.config.settings import Settings
from fleet.dev import ports
from fleet.dev.kafka import Broker
from fleet.records.errors import FleetError

pytestmark = pytest.mark.kafka

#: Longer than the test, so that nothing of what happened is too long ago.
CHOSEN = {"__rate_interval": "5m", "__range": "5m", "workflow": "timer", "group": "main"}
#: How long anything may take to happen and to be scraped, in seconds.
PATIENCE_SECONDS = 60
#: What is rightly missing while all is well, and why; then the panels that are empty for it.
NOT_ALWAYS = {"fleet_task_load_records_remaining": "there only while a task is being loaded"}
MAY_BE_EMPTY = {
    "fleet-step-group: Records to load A": "asks for one of those",
}


@dataclass
class Scene:
    """A worker that has lived through something, and the Prometheus that saw it."""

    settings: Settings
    prometheus: Prometheus
    workers: list[WorkerProcess] = field(default_factory=list)

    def export(self) -> subprocess.Popen[bytes]:
        """Start `fleet exporter`, to be scraped."""
        port = ports.choose()
        environment = {**os.environ, "FLEET_PREFIX": self.settings.prefix}
        words = ["exporter", "--port", str(port), "--broker", self.settings.broker]
        program = Path(sys.executable).with_name("fleet")
        with (self.settings.data_dir / "exporter.log").open("wb") as output:
            exporter = subprocess.Popen([program, *words], env=environment, stderr=output)
        self.prometheus.scrape("fleet-exporter", port)
        return exporter

    def hire(self) -> WorkerProcess:
        """Start a worker, to be scraped with those that are there."""
        name = f"worker-{len(self.workers)}"
        worker = WorkerProcess(
            "timer_flow",
            self.settings.data_dir / f"{name}.log",
            FLEET_BROKER=self.settings.broker,
            FLEET_PREFIX=self.settings.prefix,
            FLEET_DATA_DIR=str(self.settings.data_dir / name),
            TIMER_SECONDS="0.05",
        )
        self.workers.append(worker)
        self.prometheus.scrape("fleet", *(each.port for each in self.workers))
        return worker

    async def until(self, expression: str) -> None:
        """Wait until *expression* has data."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not values(self.prometheus.query(expression)):
            assert time.monotonic() < deadline, f"no data: {expression}"
            await asyncio.sleep(0.2)


async def ended(run: Awaitable[Any]) -> None:
    """Wait for the bad end of a run."""
    with pytest.raises((FleetError, LookupError)):
        await run


async def all_ends(flow: Connection) -> None:
    """Have runs end in each way that there is."""
    handler = flow.run(topic="unwanted")
    await asyncio.gather(
        *(flow.run(topic=f"good {number}") for number in range(30)),
        *(ended(flow.run(topic=f"bad {number}")) for number in range(5)),
        ended(flow.run(topic="late", timeout=0.01)),
        handler.cancel_run("not needed"),
    )
    await ended(handler)


async def live(scene: Scene, partitions: int) -> None:
    """Work, while a second worker comes and goes."""
    async with connect(TimerFlow, settings=scene.settings, timeout=PATIENCE_SECONDS) as flow:
        scene.hire()
        await all_ends(flow)
        await scene.until('fleet_runs_total{outcome="completed"}')
        second = scene.hire()
        await scene.until('count(fleet_tasks{state="running"} > 0) == 2')
        await all_ends(flow)
        await asyncio.to_thread(second.terminate)
        await scene.until(f'fleet_tasks{{state="running"}} == {partitions}')
        await all_ends(flow)


@pytest.fixture(scope="module")
def scene(kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """What all tests here ask about."""
    if not Prometheus.is_here():
        pytest.skip("there is no prometheus on the PATH")
    folder = tmp_path_factory.mktemp("scene")
    prefix = f"panels{uuid4().hex[:8]}"
    settings = Settings(broker=kafka_broker.address, prefix=prefix, data_dir=folder)
    with Prometheus(folder / "prometheus") as prometheus:
        scene = Scene(settings, prometheus)
        exporter = scene.export()
        try:
            asyncio.run(live(scene, settings.partitions))
            yield scene
        finally:
            exporter.terminate()
            exporter.wait(PATIENCE_SECONDS)
            for worker in scene.workers:
                worker.stop()


@pytest.mark.parametrize("expression", panel_expressions(), ids=lambda each: each.place)
async def test_a_panel_has_data(scene: Scene, expression: Expression) -> None:
    """With the variables chosen as somebody would."""
    asked = plain(expression.text, CHOSEN)
    if expression.place in MAY_BE_EMPTY:
        scene.prometheus.query(asked)
    else:
        await scene.until(asked)


@pytest.mark.parametrize("name", [rule["record"] for rule in rules() if "record" in rule])
async def test_a_recording_rule_has_data(scene: Scene, name: str) -> None:
    """Under its name, as the alerts take it."""
    await scene.until(name)


async def test_every_metric_of_the_docs_is_exported(scene: Scene) -> None:
    """By the worker or the exporter; what panels and rules ask for is among them."""
    there = {*NOT_ALWAYS, *scene.prometheus.names()}
    assert exported().keys() - there == set()


async def test_every_rule_was_evaluated_without_error(scene: Scene) -> None:
    """Alerts included, whose expressions have no data as long as all is well."""
    evaluated = scene.prometheus.rules()
    names = {rule.get("alert") or rule["record"] for rule in rules()}
    assert {rule["name"] for rule in evaluated} == names
    assert {(rule["health"], rule.get("lastError", "")) for rule in evaluated} == {("ok", "")}


async def test_an_expression_without_data_would_be_noticed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A metric that nobody exports, and a label that it does not have."""
    monkeypatch.setattr("test_expressions.PATIENCE_SECONDS", 1)
    for wrong in ("rate(fleet_run_total[5m])", 'fleet_runs_total{step="tell"}'):
        with pytest.raises(AssertionError, match="no data"):
            await scene.until(wrong)
