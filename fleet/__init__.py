"""Fleet: typed, event-driven LLM workflows as a fleet of Faust workers on Kafka."""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from fleet.workflow import running as _running

if TYPE_CHECKING:
    from fleet.api.serving import serve
    from fleet.client.connection import connect
    from fleet.client.handler import WorkflowHandler
    from fleet.drawing.draw import draw_workflow
    from fleet.drawing.runs.draw import draw_run
    from fleet.llm import LLM
    from fleet.records.clear_text import ClearText
    from fleet.records.end_events import (
        WorkflowCancelledEvent,
        WorkflowFailedEvent,
        WorkflowTimedOutEvent,
    )
    from fleet.records.errors import FleetError
    from fleet.records.events import (
        Event,
        HumanResponseEvent,
        InputRequiredEvent,
        InternalDispatchEvent,
        StartEvent,
        StopEvent,
        StreamRestarted,
        UnhandledEvent,
    )
    from fleet.workflow.collect import All, Collect, Take
    from fleet.workflow.context import Context
    from fleet.workflow.errors import (
        ContextStateError,
        WorkflowCancelledByUser,
        WorkflowConfigurationError,
        WorkflowRuntimeError,
        WorkflowTimeoutError,
        WorkflowValidationError,
    )
    from fleet.workflow.failing.retrying import (
        ConstantDelayRetryPolicy,
        ExponentialBackoffRetryPolicy,
        RetryInfo,
        RetryPolicy,
        retry_policy,
    )
    from fleet.workflow.failing.step_failed import StepFailedEvent
    from fleet.workflow.marking import catch_error, step
    from fleet.workflow.recorded.memo import NOT_DONE
    from fleet.workflow.resources.declared import Resource, ResourceConfig
    from fleet.workflow.workflow import Workflow

# The module of each public name, loaded at first use: the command line and a test of events should
# not wait for Faust and the OpenAI client.
_HOMES = {
    "All": "fleet.workflow.collect",
    "ClearText": "fleet.records.clear_text",
    "Collect": "fleet.workflow.collect",
    "ConstantDelayRetryPolicy": "fleet.workflow.failing.retrying",
    "Context": "fleet.workflow.context",
    "ContextStateError": "fleet.workflow.errors",
    "Event": "fleet.records.events",
    "ExponentialBackoffRetryPolicy": "fleet.workflow.failing.retrying",
    "FleetError": "fleet.records.errors",
    "HumanResponseEvent": "fleet.records.events",
    "InputRequiredEvent": "fleet.records.events",
    "InternalDispatchEvent": "fleet.records.events",
    "LLM": "fleet.llm",
    "NOT_DONE": "fleet.workflow.recorded.memo",
    "Resource": "fleet.workflow.resources.declared",
    "ResourceConfig": "fleet.workflow.resources.declared",
    "RetryInfo": "fleet.workflow.failing.retrying",
    "RetryPolicy": "fleet.workflow.failing.retrying",
    "StartEvent": "fleet.records.events",
    "StepFailedEvent": "fleet.workflow.failing.step_failed",
    "StopEvent": "fleet.records.events",
    "StreamRestarted": "fleet.records.events",
    "Take": "fleet.workflow.collect",
    "UnhandledEvent": "fleet.records.events",
    "Workflow": "fleet.workflow.workflow",
    "WorkflowCancelledByUser": "fleet.workflow.errors",
    "WorkflowCancelledEvent": "fleet.records.end_events",
    "WorkflowConfigurationError": "fleet.workflow.errors",
    "WorkflowFailedEvent": "fleet.records.end_events",
    "WorkflowHandler": "fleet.client.handler",
    "WorkflowRuntimeError": "fleet.workflow.errors",
    "WorkflowTimedOutEvent": "fleet.records.end_events",
    "WorkflowTimeoutError": "fleet.workflow.errors",
    "WorkflowValidationError": "fleet.workflow.errors",
    "catch_error": "fleet.workflow.marking",
    "connect": "fleet.client.connection",
    "draw_run": "fleet.drawing.runs.draw",
    "draw_workflow": "fleet.drawing.draw",
    "retry_policy": "fleet.workflow.failing.retrying",
    "serve": "fleet.api.serving",
    "step": "fleet.workflow.marking",
}
#: What to write instead of a name that is not here.
_ABSENT = "fleet.workflow.absent_names"

__all__ = [
    "LLM",
    "NOT_DONE",
    "All",
    "ClearText",
    "Collect",
    "ConstantDelayRetryPolicy",
    "Context",
    "ContextStateError",
    "Event",
    "ExponentialBackoffRetryPolicy",
    "FleetError",
    "HumanResponseEvent",
    "InputRequiredEvent",
    "InternalDispatchEvent",
    "Resource",
    "ResourceConfig",
    "RetryInfo",
    "RetryPolicy",
    "StartEvent",
    "StepFailedEvent",
    "StopEvent",
    "StreamRestarted",
    "Take",
    "UnhandledEvent",
    "Workflow",
    "WorkflowCancelledByUser",
    "WorkflowCancelledEvent",
    "WorkflowConfigurationError",
    "WorkflowFailedEvent",
    "WorkflowHandler",
    "WorkflowRuntimeError",
    "WorkflowTimedOutEvent",
    "WorkflowTimeoutError",
    "WorkflowValidationError",
    "catch_error",
    "connect",
    "draw_run",
    "draw_workflow",
    "retry_policy",
    "serve",
    "step",
]


#: The function of importlib that looks for an imported name.
_FROM_IMPORT = "_handle_fromlist"


def __dir__() -> list[str]:
    return [*globals(), *(name for name in __all__ if name not in globals())]


def _place(workflow: Any, app: Any, timeout_seconds: float | None) -> Any:
    """Return where *workflow* runs; load memory or Faust, whichever it needs."""
    if app is None:
        return importlib.import_module("fleet.api.in_memory").InMemory()
    embedding = importlib.import_module("fleet.api.embedding")
    return embedding.place(workflow, app, timeout_seconds)


def _absent(name: str) -> str:
    """Return what to write instead of *name*; "" if unknown."""
    sentence: str = importlib.import_module(_ABSENT).sentence(name, __all__)
    return sentence


_running.fill(_place)

if not TYPE_CHECKING:
    # Type checkers read the imports above; with this they would accept any name.

    def __getattr__(name: str) -> Any:
        home = _HOMES.get(name)
        if home is not None:
            return getattr(importlib.import_module(home), name)
        sentence = "" if name.startswith("_") else _absent(name)
        # `from fleet import` drops the text of an AttributeError.
        asked_by = sys._getframe(1).f_code.co_name  # noqa: SLF001 - no public way
        if asked_by == _FROM_IMPORT and sentence:
            raise ImportError(f"cannot import {name} from fleet: {sentence}", name=name)
        raise AttributeError(
            f"fleet has no {name}{f': {sentence}' if sentence else ''}",
            name=name,
            obj=sys.modules[__name__],
        )
