"""Types that users put into events: what comes back, and what is refused, with the sentence."""

import math
import re
from datetime import date
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, SecretStr
from value_cases import (
    CASES,
    NEVER,
    WAYS,
    Animal,
    Anything,
    Dog,
    Point,
    ValueFlow,
    cents,
    check,
    outcome,
    sent,
    shown,
)

from fleet import ClearText, Event, StartEvent, StopEvent, Workflow, WorkflowValidationError, step
from fleet.records.events import UnencodableEvent, decoded, encoded, promise
from fleet.workflow.errors import UnfitResult


@pytest.fixture(scope="module")
def flow() -> Workflow:
    return ValueFlow(timeout=20)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
async def test_a_value_comes_back_as_it_was_or_is_refused(
    flow: Workflow, case: str, way: str
) -> None:
    """Equal and of its type; or its sender gets the field and the way out."""
    check(case, await outcome(flow, case, way))


@pytest.mark.parametrize("case", NEVER)
def test_a_type_that_never_comes_back_is_refused_at_import(case: str) -> None:
    """When the workflow is made, with the field and the way out."""
    declared, said = NEVER[case]
    kind = sent(case, Anything, declared)

    async def begin(self: Any, ev: StartEvent) -> Any:
        """Return nothing."""

    async def end(self: Any, ev: Any) -> StopEvent:
        return StopEvent()

    begin.__annotations__["return"] = end.__annotations__["ev"] = kind
    flow = type("Flow", (Workflow,), {"begin": step(begin), "end": step(end)})
    with pytest.raises(WorkflowValidationError, match=rf"Anything_{case}\.{said}") as told:
        flow()
    assert "; " in str(told.value)
    # What is only shown is in no annotation.
    with pytest.raises(UnencodableEvent, match=said):
        encoded(kind.model_construct(value=None))


RESULTS: dict[str, tuple[Any, Any, str]] = {
    "bytes": (bytes, b"\xff", ""),
    "nan": (float, math.nan, ""),
    "set": (set[int], {1}, ""),
    "int keys": (dict[int, str], {1: "a"}, ""),
    "dates": (list[date] | None, [date(2026, 1, 2)], ""),
    "model": (Animal, Animal(name="Tom"), ""),
    "subclass": (Animal, Dog(), "result: a Dog would come back as an Animal"),
    "dataclass": (Point, Point(1), ""),
    "marked secret": (Annotated[SecretStr, ClearText], SecretStr("key"), ""),
    "another type": (int, "many", "the result is no int, as the workflow says: result: "),
    "validated each time": (
        Annotated[float, AfterValidator(cents)],
        5.0,
        "result: the value would come back changed",
    ),
}


@pytest.mark.parametrize("case", RESULTS)
async def test_a_result_comes_back_as_the_workflow_says_it(case: str) -> None:
    """The `.result` of a plain StopEvent is of the type in brackets, or its step fails."""
    declared, value, said = RESULTS[case]

    class Flow(Workflow[declared]):  # type: ignore[valid-type]
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=value)

    try:
        found = shown(await Flow().run())
    except UnencodableEvent as failure:
        found = str(failure)
    except UnfitResult as failure:
        found = str(failure)
    assert re.search(said, found) if said else found == shown(value), found


def test_a_result_type_that_never_comes_back_is_refused_at_import() -> None:
    """As a field of that type."""

    class Flow(Workflow[SecretStr]):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=SecretStr("key"))

    with pytest.raises(WorkflowValidationError, match=r"StopEvent.result is a SecretStr, and top"):
        Flow()


async def test_a_secret_is_shown_nowhere_but_in_the_topic() -> None:
    """Marked, it is revealed on its way into a topic alone."""

    class Start(StartEvent):
        key: Annotated[SecretStr, ClearText]

    event = Start(key=SecretStr("hush"))
    assert b"hush" in encoded(event)
    assert decoded(Start, encoded(event)) == event
    shown_to_all = (repr(event), str(event), event.model_dump_json(), repr(event.model_dump()))
    assert not any("hush" in each for each in shown_to_all)


async def test_start_events_and_answers_are_checked_at_the_caller() -> None:
    """What a caller gives beside the declared fields is of any type."""

    class Flow(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=ev.get("tags"))

    assert await Flow().run(tags=["a"]) == ["a"]
    with pytest.raises(UnencodableEvent, match="this StartEvent cannot be sent: tags: a set would"):
        await Flow().run(tags={"a"})


class Line(BaseModel):
    text: str


class Page(Event):
    number: int
    title: str | None
    words: list[str]
    lines: list[Line]


class TestCheap:
    """An event of JSON's own types is written, and not read again to compare it."""

    @pytest.mark.parametrize(
        "event",
        [
            Page(number=1, title=None, words=["a"], lines=[Line(text="b")]),
            StartEvent(topic="pirates", words=[1, {"a": None}]),
            StopEvent(result=["a", 1]),
        ],
        ids=lambda event: type(event).__name__,
    )
    def test_json_has_its_values(self, event: Event) -> None:
        assert promise(type(event)).kept(event)

    def test_it_is_read_again_if_a_value_may_change(self) -> None:
        event = StopEvent(result=(1, 2))
        assert not promise(type(event)).kept(event)
