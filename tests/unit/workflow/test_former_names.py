"""`@step(formerly=...)` as it is declared."""

from typing import Any

import pytest

from fleet import Context, Event, StartEvent, StepFailedEvent, StopEvent, catch_error, step
from fleet.workflow import call_checks, definition
from fleet.workflow.definition import Definition
from fleet.workflow.errors import BadOption, WorkflowValidationError


class Asked(Event):
    """Something to be answered."""


class RenamedFlow(Definition):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Asked:
        return Asked()

    @step(formerly=("reply", "respond"))
    async def answer(self, ctx: Context, ev: Asked) -> StopEvent:
        return StopEvent()

    @catch_error(for_steps=["answer"], formerly="recover")
    async def mend(self, ctx: Context, ev: StepFailedEvent) -> StopEvent:
        return StopEvent()


def named(formerly: Any) -> type[Definition]:
    class OneFlow(Definition):
        @step(formerly=formerly)
        async def only(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    return OneFlow


def test_the_log_knows_a_step_by_its_oldest_name() -> None:
    graph = definition.graph(RenamedFlow)
    found = graph.step_by_name["reply"]
    assert (found.name, found.shown) == ("reply", "answer")
    assert set(graph.step_by_name) == {"begin", "reply", "recover"}


def test_every_name_leads_to_it() -> None:
    graph = definition.graph(RenamedFlow)
    for name in ("reply", "respond", "answer"):
        assert (graph.step_called[name].name, graph.step_called[name].shown) == (name, "answer")
        assert graph.log_name(name) == "reply"
        assert graph.handler_of[name].shown == "mend"
        call_checks.target(graph, "begin", Asked(), name)
    assert graph.log_name("elsewhere") == "elsewhere"


@pytest.mark.parametrize("given", [7, ("a", 7), {"a"}, "not a name", b"a", ("",)])
def test_only_names_are_taken(given: Any) -> None:
    with pytest.raises(BadOption, match=r"@step\(formerly=...\) takes the name"):
        named(given)


@pytest.mark.parametrize("given", [None, "before", ["before", "earlier"], ()])
def test_what_it_takes(given: Any) -> None:
    assert definition.graph(named(given)).steps[0].shown == "only"


def test_not_its_own_name() -> None:
    with pytest.raises(WorkflowValidationError, match="called only formerly, which is its name"):
        definition.graph(named("only"))


class TestCollisions:
    """A name belongs to one step."""

    def test_with_a_step_that_is_there(self) -> None:
        class SwappedFlow(Definition):
            @step(formerly="answer")
            async def begin(self, ev: StartEvent) -> Asked:
                return Asked()

            @step
            async def answer(self, ev: Asked) -> StopEvent:
                return StopEvent()

        with pytest.raises(
            WorkflowValidationError,
            match="step begin was called answer formerly, and there is another step answer",
        ):
            definition.graph(SwappedFlow)

    def test_with_a_former_name(self) -> None:
        class TwiceFlow(Definition):
            @step(formerly="before")
            async def begin(self, ev: StartEvent) -> Asked:
                return Asked()

            @step(formerly="before")
            async def answer(self, ev: Asked) -> StopEvent:
                return StopEvent()

        with pytest.raises(
            WorkflowValidationError, match="begin and answer were both called before formerly"
        ):
            definition.graph(TwiceFlow)
