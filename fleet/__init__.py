"""Fleet: typed, event-driven LLM workflows as a fleet of Faust workers on Kafka."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleet.llm import LLM
    from fleet.records.errors import FleetError
    from fleet.records.events import Event, StartEvent, StopEvent
    from fleet.runtime.connection import connect
    from fleet.runtime.handler import WorkflowHandler
    from fleet.runtime.serving import serve
    from fleet.runtime.workflow import Workflow
    from fleet.workflow.context import Context
    from fleet.workflow.drawing import draw_workflow
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
    "Context": "fleet.workflow.context",
    "ContextStateError": "fleet.workflow.errors",
    "Event": "fleet.records.events",
    "FleetError": "fleet.records.errors",
    "LLM": "fleet.llm",
    "StartEvent": "fleet.records.events",
    "StopEvent": "fleet.records.events",
    "Workflow": "fleet.runtime.workflow",
    "WorkflowCancelledByUser": "fleet.workflow.errors",
    "WorkflowConfigurationError": "fleet.workflow.errors",
    "WorkflowHandler": "fleet.runtime.handler",
    "WorkflowRuntimeError": "fleet.workflow.errors",
    "WorkflowTimeoutError": "fleet.workflow.errors",
    "WorkflowValidationError": "fleet.workflow.errors",
    "connect": "fleet.runtime.connection",
    "draw_workflow": "fleet.workflow.drawing",
    "serve": "fleet.runtime.serving",
    "step": "fleet.workflow.steps",
}

__all__ = [
    "LLM",
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


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"fleet {name!r} does not exist in this version")
    return getattr(importlib.import_module(home), name)
