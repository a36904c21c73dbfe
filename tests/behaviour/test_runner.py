"""`WorkflowTestRunner`: what a run has shown, and how it ends."""

import importlib
from typing import Any

import pytest

from behaviour.library import REFERENCE
from behaviour.runtimes import Runtime


def runner(runtime: Runtime, flow: str) -> Any:
    library = "workflows" if runtime.library == REFERENCE else "fleet"
    kit = importlib.import_module(f"{library}.testing")
    return kit.WorkflowTestRunner(runtime.flow(f"scenarios.runner.{flow}"))


async def test_a_runner_collects_what_a_run_shows(runtime: Runtime) -> None:
    """In order, counted by type, without what is left out; with the result and the context."""
    scenarios = runtime.module("scenarios.runner")
    start = scenarios.Greeting(name="Bob")
    seen = await runner(runtime, "Greets").run(
        start_event=start, expose_internal=False, exclude_events=[scenarios.Thought]
    )

    said = [scenarios.Said(word="Hello"), scenarios.Said(word="Bob")]
    assert seen.collected == [*said, scenarios.Done(words=2)]
    assert seen.event_types == {scenarios.Said: 2, scenarios.Done: 1}
    assert seen.result == scenarios.Done(words=2)
    assert await seen.ctx.store.get("said") == 2


async def test_a_runner_raises_what_a_run_fails_with(runtime: Runtime) -> None:
    start = runtime.module("scenarios.runner").Greeting()
    with pytest.raises(LookupError, match="no more words"):
        await runner(runtime, "Stumbles").run(start_event=start)
