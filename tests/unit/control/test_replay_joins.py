"""How far a run comes that a replay begins in its middle: past joins, or only to them."""

from typing import Annotated

import pytest

from fleet import (
    Collect,
    Context,
    Event,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Take,
    catch_error,
    step,
)
from fleet.control.replay import joins
from fleet.records.events import type_name
from fleet.workflow import definition
from fleet.workflow.definition import Definition


class Asked(StartEvent):
    pass


class Page(Event):
    pass


class Part(Event):
    pass


class Done(Event):
    pass


class Sum(Event):
    pass


class Other(Event):
    pass


class MapReduce(Definition):
    @step
    async def split(self, ev: Asked) -> list[Part]:
        return []

    @step
    async def work(self, ev: Part) -> Done:
        return Done()

    @step
    async def join(self, found: list[Done]) -> Sum:
        return Sum()

    @step
    async def close(self, ev: Sum) -> StopEvent:
        return StopEvent()


class Handled(MapReduce):
    """A failure in a branch, and the handler of it."""

    @catch_error(for_steps=["work"])
    async def rescue(self, ev: StepFailedEvent) -> Done:
        return Done()


class Nested(Definition):
    @step
    async def split(self, ev: Asked) -> list[Page]:
        return []

    @step
    async def spread(self, ev: Page) -> list[Part]:
        return []

    @step
    async def inner(self, found: Annotated[list[Part], Collect(Take(2))]) -> Done:
        return Done()

    @step
    async def outer(self, found: list[Done]) -> StopEvent:
        return StopEvent()


class Later(Definition):
    """A fan-out in the middle of a run."""

    @step
    async def prepare(self, ev: Asked) -> Page:
        return Page()

    @step
    async def split(self, ev: Page) -> list[Part]:
        return []

    @step
    async def work(self, ev: Part) -> Done | StopEvent:
        return Done()

    @step
    async def join(self, found: list[Done]) -> StopEvent:
        return StopEvent()


class FirstWins(Definition):
    """A list without a join: the branch that is done first ends the run."""

    @step
    async def prepare(self, ev: Asked) -> Page:
        return Page()

    @step
    async def split(self, ev: Page) -> list[Part]:
        return []

    @step
    async def work(self, ev: Part) -> StopEvent:
        return StopEvent()


class Meeting(Definition):
    @step
    async def send(self, ctx: Context, ev: Asked) -> Part | Other | None:
        return None

    @step
    async def work(self, ev: Part) -> Done:
        return Done()

    @step
    async def meet(self, done: Done, other: Other) -> StopEvent:
        return StopEvent()


@pytest.mark.parametrize(
    ("flow", "event", "lost", "begin"),
    [
        (MapReduce, Part, ["join"], ["Asked"]),
        (MapReduce, Done, ["join"], ["Asked"]),
        (Nested, Page, ["outer"], ["Asked"]),
        (Nested, Part, ["inner"], ["Asked"]),
        (Nested, Done, ["outer"], ["Asked"]),
        (Later, Done, ["join"], ["Page"]),
    ],
)
def test_an_event_of_a_branch_leads_only_to_its_join(
    flow: type[Definition], event: type[Event], lost: list[str], begin: list[str]
) -> None:
    """It names the joins that never begin, and the events that begin runs in which they do."""
    graph = definition.graph(flow)
    found = joins.outlook(graph, event)
    assert found.is_dead_end
    assert [step.name for step in found.lost] == lost
    assert [type_name(kind) for kind in joins.beginnings(graph, found.lost)] == begin


@pytest.mark.parametrize(
    ("flow", "event", "lost"),
    [
        (MapReduce, Asked, []),
        (MapReduce, Sum, []),
        (Later, Page, []),
        # One branch may end the run without the join.
        (Later, Part, ["join"]),
        (FirstWins, Page, []),
        (FirstWins, Part, []),
    ],
)
def test_an_event_that_may_lead_to_a_result_begins_runs(
    flow: type[Definition], event: type[Event], lost: list[str]
) -> None:
    """Before a fan-out, after its join, or in a branch that may end the run by itself."""
    found = joins.outlook(definition.graph(flow), event)
    assert not found.is_dead_end
    assert [step.name for step in found.lost] == lost


def test_a_join_of_parameters_lacks_what_the_run_does_not_send() -> None:
    """It begins if the event comes from outside, so that is said and not refused."""
    graph = definition.graph(Meeting)
    found = joins.outlook(graph, Part)
    assert (found.is_dead_end, found.lost) == (False, ())
    assert [(step.name, missing) for step, missing in found.incomplete] == [("meet", ("Other",))]
    assert joins.outlook(graph, Asked).incomplete == ()


def test_a_failure_in_a_branch_only_comes_to_the_join_that_never_begins() -> None:
    """It is refused: the new run has no fan-out."""
    found = joins.outlook(definition.graph(Handled), StepFailedEvent)
    assert [step.name for step in found.lost] == ["join"]
    assert found.is_dead_end
    begin = joins.beginnings(definition.graph(Handled), found.lost)
    assert begin == [Asked]
