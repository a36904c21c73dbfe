"""Names of a workflow's own: they work, or are refused where the class is made."""

from typing import Any

import pytest

from fleet import (
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowConfigurationError,
    WorkflowValidationError,
    step,
)
from fleet.records.events import TakenFieldName
from fleet.workflow.marking import is_step

#: What Fleet gives every workflow; nothing else of a workflow is public.
GIVEN = ["add_step", "run", "run_sync", "topic", "validate"]
#: Fleet's own ones once, and such as it may come to have.
FREE = [
    "app",
    "decode",
    "encode",
    "event_type",
    "events",
    "graph",
    "group",
    "make_start_event",
    "name",
    "result",
    "result_of",
    "start",
    "steps",
    "timeout",
    "type_name",
    "workflow",
    "_caller",
    "_callers",
    "_embedding",
    "_graph",
    "_namespace",
    "_result",
]


class Middle(Event):
    text: str


def flow_with_step(name: str) -> type[Workflow]:
    """Return a workflow whose second step is called *name*."""

    async def begin(self: Any, ev: StartEvent) -> Middle:
        return Middle(text=ev.get("text"))

    async def end(self: Any, ev: Middle) -> StopEvent:
        return StopEvent(result=ev.text)

    return type("Flow", (Workflow,), {"begin": step(begin), name: step(end)})


def test_all_that_a_workflow_has_is_known() -> None:
    """A new public name would take one away from users: it belongs into these lists."""
    given = {name for name in dir(Workflow) if not name.startswith("_")}
    said = {"group_name", "result_event_type", "start_event_type", "workflow_name"} & given
    assert given - said == set(GIVEN)


@pytest.mark.parametrize("name", FREE)
async def test_a_step_may_have_any_name(name: str) -> None:
    """What Fleet needs of a workflow is not in its namespace."""
    assert await flow_with_step(name)().run(text="a") == "a"


@pytest.mark.parametrize("name", FREE)
async def test_an_attribute_may_have_any_name(name: str) -> None:
    """In the class and in the object."""
    flow = flow_with_step("second")
    setattr(flow, name, 5)
    made = flow()
    setattr(made, name, 6)
    assert await made.run(text="a") == "a"
    assert getattr(made, name) == 6


@pytest.mark.parametrize("name", GIVEN)
def test_a_step_may_not_hide_what_every_workflow_has(name: str) -> None:
    """At import, with the sentence."""
    said = f"step {name} would hide `Flow.{name}`, which Fleet gives every workflow; rename it"
    with pytest.raises(WorkflowValidationError, match=said):
        flow_with_step(name)


@pytest.mark.parametrize("name", GIVEN)
def test_an_attribute_may_not_hide_what_every_workflow_has(name: str) -> None:
    """In the class, as an annotation, and in the object."""
    said = f"attribute {name} would hide `Flow.{name}`"
    with pytest.raises(WorkflowValidationError, match=said):
        type("Flow", (Workflow,), {name: "cats"})
    with pytest.raises(WorkflowValidationError, match=said):
        type("Flow", (Workflow,), {"__annotations__": {name: str}})
    made = flow_with_step("second")()
    with pytest.raises(WorkflowConfigurationError, match=said):
        setattr(made, name, "cats")


def test_a_method_overrides() -> None:
    """As in any subclass: it says what it does."""

    class Flow(Workflow):
        def topic(self, event_type: type[Event]) -> Any:
            return super().topic(event_type)

    assert not is_step(Flow.topic)


#: All that an event has; `__init__` and the like are Python's.
OF_EVENTS = sorted({*dir(Event), *FREE, *GIVEN})
OF_EVENTS = [name for name in OF_EVENTS if not name.startswith("_")]
OF_PYDANTIC = [name for name in OF_EVENTS if name.startswith("model_")]


@pytest.mark.parametrize(
    "name", [each for each in OF_EVENTS if not each.startswith(("model_", "_"))]
)
async def test_a_field_may_have_any_name(name: str) -> None:
    """Without a warning, in a start event, in one between steps and in a result."""
    fields = {"__annotations__": {name: str}, "__module__": __name__}
    begun = type("Begun", (StartEvent,), dict(fields))
    between = type("Between", (Event,), dict(fields))
    ended = type("Ended", (StopEvent,), dict(fields))

    async def begin(self: Any, ev: Any) -> Any:
        return between(**{name: getattr(ev, name)})

    async def end(self: Any, ev: Any) -> Any:
        return ended(**{name: getattr(ev, name)})

    begin.__annotations__.update({"ev": begun, "return": between})
    end.__annotations__.update({"ev": between, "return": ended})
    flow = type("Flow", (Workflow,), {"begin": step(begin), "end": step(end)})
    assert getattr(await flow().run(begun(**{name: "a"})), name) == "a"


@pytest.mark.parametrize("name", OF_PYDANTIC)
def test_a_field_may_not_hide_what_pydantic_gives(name: str) -> None:
    """Where the class is made, with the sentence."""
    said = rf"the field {name} of Hiding would hide `{name}`, which pydantic gives.*; rename it"
    with pytest.raises(TakenFieldName, match=said):
        type("Hiding", (Event,), {"__annotations__": {name: str}, "__module__": __name__})


@pytest.mark.parametrize("name", OF_EVENTS)
async def test_a_free_field_may_have_any_name(name: str) -> None:
    """Of a plain StartEvent, given as a keyword of it."""

    class Flow(Workflow):
        @step
        async def end(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=ev.get(name))

    assert await Flow().run(StartEvent(**{name: "a"})) == "a"


@pytest.mark.parametrize("name", ["workflow_name", "group_name"])
def test_names_of_workflow_and_group_are_given_in_brackets(name: str) -> None:
    """Assigned, they would be overwritten without a word."""
    keyword = name.removesuffix("_name")
    said = rf"{name} is set by Fleet; write `class Flow\(Workflow, {keyword}=\.\.\.\)`"
    with pytest.raises(WorkflowValidationError, match=said):
        type("Flow", (Workflow,), {name: "cats"})


@pytest.mark.parametrize("name", ["run_id", "timeout", "start_event", "workflow", "self"])
async def test_start_fields_may_have_the_names_of_arguments(name: str) -> None:
    """As keywords they are `run`'s own; in a start event they are the event's."""

    class Flow(Workflow):
        @step
        async def end(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=ev.get(name))

    assert await Flow().run(StartEvent(**{name: "a"})) == "a"
