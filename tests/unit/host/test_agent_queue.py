"""Records of Faust's own agents and tables: when they are fetched and handed over."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from fleet import StartEvent, StopEvent, Workflow, serve, step
from fleet.config.settings import Settings

WORDS = TP("words", 0)


class RecordsFlow(Workflow, workflow="records"):
    @step
    async def answer(self, ev: StartEvent) -> StopEvent:
        return StopEvent()


@pytest.fixture
async def app(tmp_path: Path) -> Any:
    """A served app with a table, which is not started."""
    served: Any = serve(
        RecordsFlow, settings=Settings(broker="kafka://127.0.0.1:1", data_dir=tmp_path)
    )
    served.Table("counts", default=int)
    thread = served.consumer._thread
    yield served
    # Made with the thread, which was never started.
    thread.thread_loop.close()


def changelog(app: Any) -> TP:
    (topic,) = app.tables.changelog_topics
    return TP(topic, 0)


async def test_agents_get_nothing_before_their_queues_are_cleared(app: Any) -> None:
    """While tables are recovered, only their changelogs are fetched; agents' topics afterwards."""
    app.rebalancing = True
    wanted = app.consumer._records.wants(WORDS), app.consumer._records.wants(changelog(app))
    app.rebalancing = False

    assert wanted == (False, True)
    assert app.consumer._records.wants(WORDS)


async def test_a_workflows_events_wait_for_the_agents_queues_too(app: Any) -> None:
    """The feed of a workflow's events is held until the rebalance is over."""
    handed: list[object] = []

    async def take(message: object) -> None:
        handed.append(message)

    app.consumer.callback = take
    app.rebalancing = True
    message = SimpleNamespace(offset=3)
    handing = asyncio.create_task(app.consumer._hand_to_agents(message))
    await asyncio.sleep(0)
    before = list(handed)
    app.rebalancing = False
    await handing

    assert before == []
    assert handed == [message]
