"""`@catch_error` itself: its arguments, and on what it can stand."""

from typing import Any

import pytest

from fleet import (
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    WorkflowConfigurationError,
    WorkflowValidationError,
    catch_error,
    step,
)
from fleet.workflow import definition


class Handled(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        raise LookupError(ev.get("text", "no text"))

    @catch_error
    def rescue(self, ev: StepFailedEvent) -> StopEvent:
        """Is a plain function, and so runs in a thread."""
        return StopEvent(result=str(ev.exception))


class Inherits(Handled):
    """Has the handler of its base."""


class TakesItAway(Handled):
    """Has a method of that name that is no step."""

    def rescue(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent()


@pytest.mark.parametrize("flow", [Handled, Inherits])
async def test_a_handler_may_be_a_plain_function_and_inherited(flow: type[Handled]) -> None:
    assert await flow().run(text="lost") == "lost"


async def test_a_subclass_takes_a_handler_away() -> None:
    """As any other step."""
    with pytest.raises(LookupError, match="lost"):
        await TakesItAway().run(text="lost")


def test_a_handler_runs_once_at_a_time_in_a_run() -> None:
    graph = definition.graph(Handled)
    assert graph.step_by_name["rescue"].options.num_workers == 1
    assert graph.handler_of["begin"].name == "rescue"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_recoveries": 0}, "max_recoveries must be an integer greater than 0, not 0"),
        ({"max_recoveries": True}, "max_recoveries must be"),
        ({"max_recoveries": 1.5}, "max_recoveries must be"),
        ({"max_recoveries": 2**31}, "max_recoveries must be"),
        ({"for_steps": "begin"}, "for_steps must be a list of names of steps, not 'begin'"),
        ({"for_steps": [print]}, "for_steps must be"),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, Any], said: str) -> None:
    """With either library's error."""
    for kind in (WorkflowConfigurationError, WorkflowValidationError):
        with pytest.raises(kind, match=said):
            catch_error(**options)


def test_a_function_outside_of_a_class_is_no_handler() -> None:
    """Nothing would say whose."""

    async def rescue(ev: StepFailedEvent) -> StopEvent:
        return StopEvent()

    with pytest.raises(WorkflowValidationError, match="no workflow has it; make it a method"):
        catch_error(rescue)
