"""Deployments that add and remove an event type, under load, with workers of both versions."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from deploy_scene import Deployed

from fleet.dev.kafka import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

RUNS_PER_SECOND = 10.0
#: How long a deployment stands still half way, in seconds.
MIXED_SECONDS = 5.0


@pytest.mark.timeout(600)
async def test_no_run_suffers_from_a_deployment_that_adds_or_removes_an_event_type(
    kafka_broker: Broker, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """One of three workers stays old for a while, both ways: every run is right, no step twice."""
    deployed = Deployed(kafka_broker, tmp_path)
    try:
        for place in range(3):
            await deployed.man(place, "plain")
        async with deployed.connect() as flow:
            done = asyncio.Event()
            feeding = asyncio.create_task(deployed.feed(flow, RUNS_PER_SECOND, done))
            # One old worker beside two new ones, then all new; one goes back and forth.
            for place, version in enumerate(("grown", "grown")):
                await deployed.man(place, version)
            await _mixed(deployed)
            await deployed.man(2, "grown")
            await deployed.man(0, "plain")
            await _mixed(deployed)
            await deployed.man(0, "grown")
            # To remove a type: first nobody sends it any more; then nobody takes it.
            for place in range(3):
                await deployed.man(place, "retiring")
            done.set()
            await feeding
            done.clear()
            feeding = asyncio.create_task(deployed.feed(flow, RUNS_PER_SECOND, done))
            for place in (1, 2):
                await deployed.man(place, "plain")
            await _mixed(deployed)
            await deployed.man(0, "plain")
            done.set()
            await feeding
        outcome = await deployed.outcome()
    finally:
        deployed.stop()

    record_property("runs", outcome.runs)
    record_property("p50", outcome.seconds[len(outcome.seconds) // 2])
    record_property("p99", outcome.seconds[len(outcome.seconds) * 99 // 100])
    assert outcome.wrong == []


async def _mixed(deployed: Deployed) -> None:
    """Let the deployment stand still; whoever has a partition has all of it that it reads."""
    await asyncio.sleep(MIXED_SECONDS)
    assert await deployed.split() == []
