"""Fleet: typed, event-driven LLM workflows as a fleet of Faust workers on Kafka."""

import difflib
import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleet.api.serving import serve
    from fleet.api.workflow import Workflow
    from fleet.client.connection import connect
    from fleet.client.handler import WorkflowHandler
    from fleet.drawing.draw import draw_workflow
    from fleet.llm import LLM
    from fleet.records.clear_text import ClearText
    from fleet.records.errors import FleetError
    from fleet.records.events import Event, StartEvent, StopEvent
    from fleet.workflow.context import Context
    from fleet.workflow.errors import (
        ContextStateError,
        WorkflowCancelledByUser,
        WorkflowConfigurationError,
        WorkflowRuntimeError,
        WorkflowTimeoutError,
        WorkflowValidationError,
    )
    from fleet.workflow.steps import step

# Where each public name lives. Loaded at first use: the command line and a test that only needs
# events should not wait for Faust and the OpenAI client.
_HOMES = {
    "ClearText": "fleet.records.clear_text",
    "Context": "fleet.workflow.context",
    "ContextStateError": "fleet.workflow.errors",
    "Event": "fleet.records.events",
    "FleetError": "fleet.records.errors",
    "LLM": "fleet.llm",
    "StartEvent": "fleet.records.events",
    "StopEvent": "fleet.records.events",
    "Workflow": "fleet.api.workflow",
    "WorkflowCancelledByUser": "fleet.workflow.errors",
    "WorkflowConfigurationError": "fleet.workflow.errors",
    "WorkflowHandler": "fleet.client.handler",
    "WorkflowRuntimeError": "fleet.workflow.errors",
    "WorkflowTimeoutError": "fleet.workflow.errors",
    "WorkflowValidationError": "fleet.workflow.errors",
    "connect": "fleet.client.connection",
    "draw_workflow": "fleet.drawing.draw",
    "serve": "fleet.api.serving",
    "step": "fleet.workflow.steps",
}

__all__ = [
    "LLM",
    "ClearText",
    "Context",
    "ContextStateError",
    "Event",
    "FleetError",
    "StartEvent",
    "StopEvent",
    "Workflow",
    "WorkflowCancelledByUser",
    "WorkflowConfigurationError",
    "WorkflowHandler",
    "WorkflowRuntimeError",
    "WorkflowTimeoutError",
    "WorkflowValidationError",
    "connect",
    "draw_workflow",
    "serve",
    "step",
]


#: Names of the vocabulary that are to come, and what to do until then.
_LATER = {
    "All": "send one event that carries what was collected",
    "Collect": "send one event that carries what was collected",
    "HumanResponseEvent": "end the run and start another with the answer",
    "InputRequiredEvent": "end the run and start another with the answer",
    "Resource": "make the resource an attribute of the workflow",
    "ResourceConfig": "make the resource an attribute of the workflow",
    "StepFailedEvent": "catch the error in the step itself",
    "Take": "send one event that carries what was collected",
    "WorkflowCancelledEvent": "catch WorkflowCancelledByUser where the run is awaited",
    "WorkflowFailedEvent": "catch the step's own error where the run is awaited",
    "WorkflowTimedOutEvent": "catch WorkflowTimeoutError where the run is awaited",
    "catch_error": "catch the error in the step itself",
    "compose": "write one class for the whole workflow",
    "draw_run": "draw the class with draw_workflow; `fleet runs show` lists the steps of a run",
    "retry_policy": "let the step itself try again",
    "testing": "run the workflow in memory: `await Flow().run(...)`",
}
#: What importlib looks for an imported name with.
_FROM_IMPORT = "_handle_fromlist"


def __dir__() -> list[str]:
    return [*globals(), *(name for name in __all__ if name not in globals())]


if not TYPE_CHECKING:
    # Type checkers read the imports above; with this they would take any name for one.

    def __getattr__(name: str) -> Any:
        home = _HOMES.get(name)
        if home is not None:
            return getattr(importlib.import_module(home), name)
        sentence = _sentence(name)
        # Of an AttributeError nothing is left where a name is imported.
        asked_by = sys._getframe(1).f_code.co_name  # noqa: SLF001 - no public way
        if asked_by == _FROM_IMPORT and sentence:
            raise ImportError(f"cannot import {name} from fleet: {sentence}", name=name)
        raise AttributeError(
            f"fleet has no {name}{f': {sentence}' if sentence else ''}",
            name=name,
            obj=sys.modules[__name__],
        )


def _sentence(name: str) -> str:
    """Return what to do about a name that is not there, where that is known."""
    if name in _LATER:
        return f"it is not available in this version; {_LATER[name]}"
    if name.startswith("_") or importlib.util.find_spec(f"{__name__}.{name}") is not None:
        return ""
    by_lower = {each.lower(): each for each in (*__all__, *_LATER)}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.75)
    return f"did you mean {by_lower[near[0]]}?" if near else ""
