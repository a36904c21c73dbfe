"""Steps: what `@step` and the annotations of one method say, and what it cannot take."""

# Wrong annotations are what is tested here, and most bodies never run.
# mypy: disable-error-code="valid-type, no-untyped-def, type-arg, call-overload, empty-body"

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any, Optional, Union

import pytest
from pydantic import BaseModel

from fleet import (
    All,
    Collect,
    Context,
    Event,
    StartEvent,
    StopEvent,
    Take,
    Workflow,
    WorkflowConfigurationError,
    WorkflowRuntimeError,
    WorkflowValidationError,
    step,
)
from fleet.records.envelope import Envelope
from fleet.records.state import MemoryState
from fleet.workflow import signature
from fleet.workflow.collect import Cardinality
from fleet.workflow.context import Surroundings
from fleet.workflow.steps import Options, Slot, Step


class A(Event):
    """An event."""


class B(Event):
    """Another."""


class Model(BaseModel):
    """What a typed context would hold."""


def read(function: Any, **names: Any) -> Step:
    """Return what is read of a marked function under the name `work`."""
    return signature.read(function, "work", names)


def findings(function: Any) -> str:
    """Return what is wrong with a marked function."""
    with pytest.raises(WorkflowValidationError) as caught:
        read(function)
    return "; ".join(caught.value.findings)


async def ignored(event: Event) -> None:
    """A stream that nobody reads."""


CONTEXT: Context = Context(
    envelope=Envelope(run_id="r", event_id="e", type="A"),
    step="s",
    attempt=1,
    state=MemoryState(),
    surroundings=Surroundings(ignored, lambda _event, _step: None),
)


class TestMark:
    def test_step_without_arguments_has_the_defaults(self) -> None:
        """`@step` alone: four workers for each run, no time limit."""

        @step
        async def work(self, ev: A) -> B: ...

        assert read(work).options == Options(num_workers=4, timeout_seconds=None)

    def test_step_takes_num_workers_and_timeout(self) -> None:
        """`@step(...)` sets what it is given."""

        @step(num_workers=8, timeout=30)
        async def work(self, ev: A) -> B: ...

        assert read(work).options == Options(num_workers=8, timeout_seconds=30.0)

    def test_a_marked_method_stays_the_method(self) -> None:
        """A test may call a step like any method."""

        @step
        async def work(self, ev: A) -> A:
            return ev

        event = A()
        assert asyncio.run(work(None, event)) is event

    @pytest.mark.parametrize("number", [0, -1, 1.5, True, "4", None])
    def test_num_workers_is_a_count(self, number: Any) -> None:
        """Anything but an integer greater than 0 is refused and shown."""
        with pytest.raises(WorkflowConfigurationError, match=f"num_workers.*{number!r}"):
            step(num_workers=number)

    @pytest.mark.parametrize("seconds", [0, -1, True, "30", float("nan")])
    def test_a_timeout_is_a_duration(self, seconds: Any) -> None:
        """Anything but a number of seconds greater than 0 is refused and shown."""
        with pytest.raises(WorkflowConfigurationError, match=f"timeout.*{seconds!r}"):
            step(timeout=seconds)

    def test_an_unknown_option_names_the_known_ones(self) -> None:
        """A typo in an option is an error that lists what there is."""
        with pytest.raises(WorkflowConfigurationError, match=r"'workers'; it takes num_workers,"):
            step(workers=3)

    def test_a_step_may_be_a_plain_method(self) -> None:
        """It runs in a thread; the others do not."""

        @step
        def plain(self: Any, ev: A) -> B: ...

        @step
        async def other(self: Any, ev: A) -> B: ...

        assert (read(plain).is_plain, read(other).is_plain) == (True, False)

    def test_a_plain_generator_is_no_step(self) -> None:
        """As an async one."""
        with pytest.raises(WorkflowValidationError, match=r"has a `yield`.* ctx\.send_event"):

            @step
            def work(self: Any, ev: A) -> Iterator[B]:
                yield B()

    def test_a_generator_is_no_step(self) -> None:
        """An async generator has no single result; it hears what to write instead."""
        with pytest.raises(WorkflowValidationError, match=r"has a `yield`.* ctx\.send_event"):

            @step
            async def work(self, ev: A) -> AsyncIterator[B]:
                yield B()


class TestRead:
    def test_accepts_and_returns_are_the_annotations(self) -> None:
        """One event in, one event out, no context."""

        @step
        async def work(self, ev: A) -> B: ...

        found = read(work)
        assert (found.name, found.accepts, found.returns) == ("work", (A,), (B,))
        assert (found.slots, found.context_parameter) == ((Slot("ev", (A,)),), None)

    def test_a_union_is_each_of_its_members(self) -> None:
        """`A | B` and `Union[A, B]` mean the same, in parameters and results."""

        @step
        async def work(self, ev: A | B) -> Union[StopEvent, A]: ...  # noqa: UP007 - the old way

        assert read(work).accepts == (A, B)
        assert read(work).returns == (StopEvent, A)

    def test_none_may_be_returned_and_is_no_event(self) -> None:
        """None ends a branch: `B | None`, `Optional[B]` and `None` are fine as results."""

        @step
        async def one(self, ev: A) -> B | None: ...
        @step
        async def other(self, ev: A) -> Optional[B]: ...  # noqa: UP045 - the old way
        @step
        async def never(self, ev: A) -> None: ...

        assert [read(each).returns for each in (one, other, never)] == [(B,), (B,), ()]

    def test_a_string_annotation_is_resolved(self) -> None:
        """Annotations may be text, as `from __future__ import annotations` makes them."""

        class Local(Event):
            """Known only in here."""

        @step
        async def work(self, ev: "Local") -> "StopEvent | None": ...

        assert read(work, Local=Local).accepts == (Local,)

    @pytest.mark.parametrize("context_first", [True, False])
    def test_arguments_are_bound_by_their_names(self, context_first: bool) -> None:
        """Context and event may be called anything and stand in either order."""

        @step
        async def first(self, context: Context, joke: A) -> list[Any]:
            return [self, context, joke]

        @step
        async def second(self, joke: A, context: Context) -> list[Any]:
            return [self, context, joke]

        function = first if context_first else second
        function.__annotations__["return"] = StopEvent
        event = A()
        bound = read(function).bind("flow", CONTEXT, {"joke": event})
        assert asyncio.run(bound) == ["flow", CONTEXT, event]


class TestRefused:
    def test_an_event_without_a_type(self) -> None:
        """A parameter without annotation is named, with an example."""

        @step
        async def work(self, ev) -> B: ...

        assert findings(work) == (
            "step work does not say the type of ev; write e.g. `ev: StartEvent`"
        )

    def test_a_context_without_a_type(self) -> None:
        """An unannotated ctx gets the example that helps."""

        @step
        async def work(self, ctx, ev: A) -> B: ...

        assert "type of ctx; write e.g. `ctx: Context`" in findings(work)

    def test_no_event_at_all(self) -> None:
        """A step that takes no event would never run."""

        @step
        async def work(self, ctx: Context) -> B: ...

        assert "step work does not say the type of its event" in findings(work)

    def test_no_return_type(self) -> None:
        """The return annotation is half of the wiring, so it must be there."""

        @step
        async def work(self, ev: A): ...

        assert findings(work) == (
            "step work does not say what it returns; write e.g. `-> StopEvent`"
        )

    @pytest.mark.parametrize("wrong", [str, dict, Model, Any, A | int, 5], ids=repr)
    def test_a_parameter_that_is_no_event(self, wrong: Any) -> None:
        """Only events travel between steps; the finding names parameter, step and fix."""

        @step
        async def work(self, ev: wrong) -> B: ...

        assert "parameter ev of step work is" in findings(work)
        assert "which is no Event; subclass Event" in findings(work)

    def test_a_result_that_is_no_event(self) -> None:
        """The finding says that it is about the return type."""

        @step
        async def work(self, ev: A) -> str: ...

        expected = "the return type of step work is str, which is no Event; subclass Event"
        assert findings(work) == expected

    def test_an_event_that_may_be_none(self) -> None:
        """None is never delivered: `A | None` takes A, and None alone is no event."""

        @step
        async def work(self, ev: A | None) -> B: ...
        @step
        async def never(self, ev: None) -> B: ...

        assert read(work).accepts == (A,)
        assert findings(never) == "parameter ev of step work is None; take an event"

    @pytest.mark.parametrize("text", ["Missing", "asyncio.Missing", "A |", "A & B"])
    def test_an_annotation_that_cannot_be_resolved(self, text: str) -> None:
        """A name that is imported for type checkers only is the usual cause, and is said so."""

        @step
        async def work(self, ev: A) -> B: ...

        work.__annotations__["ev"] = text
        assert "an annotation of step work cannot be resolved" in findings(work)
        assert "not only for type checkers" in findings(work)

    def test_a_second_parameter_that_is_no_event(self) -> None:
        """It is the wrong parameter that is named, not a join that nobody asked for."""

        @step
        async def work(self, ev: A, limit: int) -> B: ...

        expected = "parameter limit of step work is int, which is no Event; subclass Event"
        assert findings(work) == expected


class TestJoins:
    def test_several_event_parameters_are_several_slots(self) -> None:
        """`a: A, b: B` waits for one of each."""

        @step
        async def work(self, one: A, ctx: Context, two: B) -> StopEvent: ...

        found = read(work)
        assert (found.slots, found.is_join) == ((Slot("one", (A,)), Slot("two", (B,))), True)
        assert (found.accepts, found.collect, found.context_parameter) == ((A, B), None, "ctx")

    @pytest.mark.parametrize(
        ("hint", "types", "collect"),
        [
            (list[A], (A,), Collect(All())),
            (list[A | B], (A, B), Collect(All())),
            (list[A] | None, (A,), Collect(All())),
            (Annotated[list[A], Collect()], (A,), Collect(All())),
            (Annotated[list[A], "text", Collect(Take(2))], (A,), Collect(Take(2))),
        ],
        ids=repr,
    )
    def test_a_list_of_events_collects(self, hint: Any, types: Any, collect: Collect) -> None:
        """A list alone waits for all members; `Collect` on it says how many."""

        @step
        async def work(self, found: hint) -> StopEvent: ...

        taken = read(work)
        assert (taken.slots, taken.collect) == ((Slot("found", types),), collect)
        assert taken.is_join

    @pytest.mark.parametrize(
        ("hint", "fans_out", "bare", "may_end"),
        [
            (list[A], (A,), (), False),
            (list[A | B], (A, B), (), False),
            (list[A] | B, (A,), (B,), False),
            (list[A] | A | None, (A,), (A,), True),
            (list[A] | list[B] | None, (A, B), (), True),
        ],
        ids=repr,
    )
    def test_a_list_that_is_returned_fans_out(
        self, hint: Any, fans_out: Any, bare: Any, may_end: bool
    ) -> None:
        """What may come in a list and what may come alone are told apart."""

        @step
        async def work(self, ev: StartEvent) -> hint: ...

        found = read(work)
        assert (found.fans_out, found.bare, found.may_end) == (fans_out, bare, may_end)
        assert found.returns == tuple(dict.fromkeys((*fans_out, *bare)))
        assert not found.is_join

    @pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "3", None], ids=repr)
    def test_take_counts(self, wrong: Any) -> None:
        """Anything but an integer greater than 0 is refused, as a ValueError too."""
        with pytest.raises(ValueError, match=rf"Take\(n\) takes.*{wrong!r}"):
            Take(wrong)

    @pytest.mark.parametrize("wrong", [2, Take, Cardinality()], ids=repr)
    def test_collect_takes_a_count(self, wrong: Any) -> None:
        """Anything but All() and Take(n) is refused."""
        with pytest.raises(WorkflowConfigurationError, match=r"Collect takes All\(\) or Take"):
            Collect(wrong)

    def test_what_no_join_can_be(self) -> None:
        """Each finding names the parameter, the step and a way out."""

        @step
        async def mixed(self, ev: list[A] | B) -> StopEvent: ...
        @step
        async def marked(self, ev: Annotated[A, Collect()]) -> StopEvent: ...
        @step
        async def beside(self, ev: list[A], other: B) -> StopEvent: ...
        @step
        async def union(self, ev: A | B, other: A) -> StopEvent: ...

        assert "ev of step work is a list or a single event; take one" in findings(mixed)
        assert "ev of step work has a Collect, which is for lists" in findings(marked)
        assert "ev of step work is a list beside another event" in findings(beside)
        assert "ev of step work has several types, and a step that joins" in findings(union)


class TestReturned:
    @step
    async def alone(self, ev: StartEvent) -> A: ...
    @step
    async def lists(self, ev: StartEvent) -> list[A | StopEvent] | B: ...

    @pytest.mark.parametrize("good", [[], [A()], [A(), StopEvent()], B()], ids=repr)
    def test_what_a_fan_out_may_return(self, good: Any) -> None:
        """A list of what the list may hold, also an empty one, or what may come alone."""
        read(TestReturned.lists).check_returned(good, has_sent=False)

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            (5, "returned int instead of an Event instance; return an event, or None"),
            ([A(), 5], "returned a list containing int instead of an Event instance; put only"),
            ([A(), None], "returned a list containing NoneType instead"),
            ([B()], r"returned list\[B\], and its annotation says list\[A \| StopEvent\] \| B;"),
            (
                A(),
                r"returned a bare A, and .* says list\[A \| StopEvent\] \| B; return a list",
            ),
            (None, r"returned None, and its annotation says list\["),
        ],
        ids=repr,
    )
    def test_what_it_may_not(self, wrong: Any, said: str) -> None:
        """The step, what it returned, what it says and the way out."""
        with pytest.raises(WorkflowRuntimeError, match=f"(?i)step .*work {said}"):
            read(TestReturned.lists).check_returned(wrong, has_sent=False)

    def test_a_list_from_a_step_that_says_none(self) -> None:
        """The fix is the annotation."""
        said = r"Step function work returned list instead of an Event instance; annotate it `-> l"
        with pytest.raises(WorkflowRuntimeError, match=said):
            read(TestReturned.alone).check_returned([A()], has_sent=False)


class TestOthers:
    def test_what_is_annotated_as_nothing_that_fleet_knows(self) -> None:
        """The sentence shows how a resource is written."""

        @step
        async def work(self, ev: A, folder: Annotated[Path, "a mark"]) -> StopEvent: ...

        with pytest.raises(
            WorkflowValidationError, match=r"folder .*`Annotated\[Path, Resource\(fac"
        ):
            read(work)

    def test_an_unknown_attribute_of_the_context_is_just_that(self) -> None:
        """A typo stays an AttributeError, so that hasattr and friends work."""
        assert not hasattr(CONTEXT, "colect_events")


class TestContext:
    @pytest.mark.parametrize("wrong", [None, "JokeEvent", A], ids=repr)
    def test_only_events_are_sent(self, wrong: Any) -> None:
        """Sending something else raises where it is done, in the step."""
        with pytest.raises(WorkflowRuntimeError, match=r"send_event takes an event, not \w+"):
            CONTEXT.send_event(wrong)
        assert CONTEXT.sent == []


def test_a_step_whose_event_has_no_name_is_refused() -> None:
    """Fleet gives it by name; at import, and not when a run has begun."""
    with pytest.raises(WorkflowValidationError, match="step only takes its event by position only"):

        class Flow(Workflow):
            @step
            async def only(self, ev: StartEvent, /) -> StopEvent: ...


EVENT = B()


def test_a_parameter_with_a_default_may_be_of_any_type() -> None:
    """A run leaves it at its default; a test of the step may give it."""

    @step
    async def work(
        self, ev: A, limit: int = 3, unannotated=None, *rest: str, other: B = EVENT, **more: str
    ) -> B: ...

    assert read(work).slots == (Slot("ev", (A,)), Slot("other", (B,)))


def test_annotations_that_say_nothing_to_fleet_are_left_out() -> None:
    """`Annotated` may hold something for people or for other tools."""

    @step
    async def work(self, ev: Annotated[A, "what it is about"]) -> Annotated[B, "more"]: ...

    assert (read(work).accepts, read(work).returns) == ((A,), (B,))
