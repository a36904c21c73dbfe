"""The port between a declared workflow and what runs it."""

from typing import Any

import pytest

from fleet import StartEvent, StopEvent, Workflow, serve, step
from fleet.workflow import running
from fleet.workflow.running import PortNotFilled
from fleet.workflow.workflow import NotInitialised


class Echo(Workflow):
    @step
    async def echo(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=ev.get("n"))


async def test_a_port_that_is_not_filled_says_who_fills_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the run: declaring and checking a workflow need no port."""
    monkeypatch.setattr(running, "_filled_with", [])
    flow = Echo()
    flow.validate()
    with pytest.raises(PortNotFilled, match="`fleet/__init__` fills the port"):
        flow.run(n=1)


async def test_a_run_starts_where_the_port_says() -> None:
    """One place for a workflow, which it asks for at its first run."""
    asked: list[Any] = []

    class Place:
        events = None

        def starter(self, workflow: Any) -> Any:
            asked.append(workflow)
            return self

        def run(self, event: Any, run_id: Any, timeout_seconds: Any, *, keeps: Any) -> Any:
            return event.get("n"), run_id, timeout_seconds, keeps

    def find_place(*given: Any) -> Any:
        asked.append(given)
        return Place()

    (before,) = running._filled_with
    flow = Echo(timeout=7)
    running.fill(find_place)
    try:
        assert flow.run(n=1, run_id="r") == (1, "r", 7, flow)  # type: ignore[comparison-overlap]
        assert flow.run(n=2, timeout=3) == (2, None, 3, flow)  # type: ignore[comparison-overlap]
    finally:
        running.fill(before)
    assert asked == [(flow, None, 7), flow, flow]


def test_a_worker_of_a_workflow_that_is_not_initialised_is_refused() -> None:
    """With the line to write, as when it is run."""

    class Bare(Echo):
        def __init__(self) -> None:
            self.model = "small"

    with pytest.raises(NotInitialised, match=r"write `super\(\).__init__\(timeout=...\)`"):
        serve(Bare)
