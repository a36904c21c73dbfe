"""What a workflow of the reference can name is here, or is listed as a difference."""

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

import fleet
from behaviour import differences, library
from fleet import StartEvent, StopEvent, Workflow, step
from fleet.client.run_context import RunContext
from fleet.workflow.store import Store

#: Of Python and of pydantic: every class has them.
_ANY_CLASS = {*dir(BaseModel), *dir(object)}
#: Constructed by the library and not by a workflow, so their constructors are no one's business.
_GIVEN = {"Context", "WorkflowHandler", "Store", "Event", "StopEvent"}

pytestmark = pytest.mark.skipif(
    not library.is_installed(), reason="llama-index-workflows is not installed"
)


class Small(Workflow):
    """A workflow to look at: some of its names are there for an instance."""

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        return StopEvent()


def _names_of(name: str, ours: Any) -> set[str]:
    """Return what a class of ours and its instances have."""
    if name == "Workflow":
        made = Small()
        later = {"events", "start_event_class", "stop_event_class"}
        return {*dir(ours), *(each for each in later if hasattr(made, each))}
    # A step and a caller have one context there, and two here.
    return {*dir(ours), *(dir(RunContext) if name == "Context" else ())}


def _pairs() -> dict[str, tuple[Any, Any]]:
    """Return each class of the reference beside Fleet's."""
    theirs = {
        "Context": "workflows",
        "Event": "workflows.events",
        "StopEvent": "workflows.events",
        "Workflow": "workflows",
        "WorkflowHandler": "workflows.handler",
    }
    pairs = {
        name: (getattr(importlib.import_module(home), name), getattr(fleet, name))
        for name, home in theirs.items()
    }
    store = importlib.import_module("workflows.context.state_store").InMemoryStateStore
    return {**pairs, "Store": (store, Store)}


def _missing_members() -> Iterator[str]:
    for name, (theirs, ours) in _pairs().items():
        for member in sorted({*dir(theirs)} - _ANY_CLASS - _names_of(name, ours)):
            # What pydantic keeps as a field is no attribute of the class.
            is_field = member in getattr(ours, "model_fields", ())
            if not member.startswith("_") and not is_field and not _is_dunder(member):
                yield f"{name}.{member}"


def _missing_parameters() -> Iterator[str]:
    for name, (theirs, ours) in _pairs().items():
        members = {*dir(theirs)} & {*dir(ours)} - _ANY_CLASS
        for member in sorted(members | (set() if name in _GIVEN else {"__init__"})):
            if not member.startswith("_") or member == "__init__":
                for parameter in _parameters(theirs, member) - _parameters(ours, member):
                    yield f"{name}.{member}.{parameter}"
    step = importlib.import_module("workflows").step
    for parameter in _named(step) - _named(fleet.step):
        yield f"step.{parameter}"


def _parameters(owner: Any, member: str) -> set[str]:
    found = getattr(owner, member)
    return _named(found) if callable(found) else set()


def _named(function: Any) -> set[str]:
    """Return the parameters that a caller may name."""
    various = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return {each.name for each in parameters if each.kind not in various} - {"self"}


def _is_dunder(member: str) -> bool:
    return member.startswith("__")


def _missing_classes() -> Iterator[str]:
    for home in ("workflows", "workflows.events", "workflows.errors"):
        module = importlib.import_module(home)
        for name, found in vars(module).items():
            public = inspect.isclass(found) and found.__module__.startswith("workflows")
            if public and not name.startswith("_") and name not in fleet.__all__:
                yield name


def test_every_member_of_the_reference_is_here_or_listed() -> None:
    assert sorted(_missing_members()) == sorted(differences.MEMBERS)


def test_every_parameter_of_the_reference_is_here_or_listed() -> None:
    assert sorted(_missing_parameters()) == sorted(differences.PARAMETERS)


def test_every_class_of_the_reference_is_here_or_listed() -> None:
    assert sorted(_missing_classes()) == sorted(differences.CLASSES)
