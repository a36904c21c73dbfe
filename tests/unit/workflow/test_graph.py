"""The graph: what fits together, and one finding for each thing that does not."""

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest

from fleet import Event, StartEvent, StopEvent, WorkflowValidationError
from fleet.records.events import type_name
from fleet.workflow import graph
from fleet.workflow.graph import RESERVED_TYPE_NAMES, Graph
from fleet.workflow.steps import Options, Slot, Step


class A(Event):
    """An event."""


class B(Event):
    """Another."""


class C(Event):
    """A third."""


class Judgement(StopEvent):
    """A result with a type of its own."""

    verdict: str = ""


class Topic(StartEvent):
    """A start event with a type of its own."""

    topic: str = ""


class Ask(Event):
    """A start event that is no StartEvent."""


class Answer(Event):
    """A result that is no StopEvent."""


async def nothing(*_: object) -> None:
    """The body of every step: none is run here."""


def _never(*_: object, **__: object) -> Coroutine[Any, Any, Any]:
    return nothing()


def step(name: str, accepts: list[type[Event]], returns: list[type[Event]]) -> Step:
    """Return a step as its annotations would describe it."""
    slots = (Slot("ev", tuple(accepts)),)
    return Step(name, _never, Options(), slots, bare=tuple(returns))


def build(
    *steps: Step, start: type[Event] | None = None, result: type[Event] | None = None
) -> Graph:
    """Build the graph of a workflow called Flow."""
    return graph.build("Flow", steps, start, result)


def findings(
    *steps: Step, start: type[Event] | None = None, result: type[Event] | None = None
) -> list[str]:
    """Return what is wrong with these steps."""
    with pytest.raises(WorkflowValidationError, match=r"^Flow is not a valid workflow:") as caught:
        build(*steps, start=start, result=result)
    for finding in caught.value.findings:
        assert finding in str(caught.value)
    return caught.value.findings


FIRST = step("first", [StartEvent], [A])
LAST = step("last", [A], [StopEvent])


class TestValid:
    def test_a_chain_is_a_graph(self) -> None:
        """Start, an event in between, result: nothing is found."""
        built = build(FIRST, LAST)
        assert (built.start, built.results) == (StartEvent, (StopEvent,))
        assert built.accepting == {"StartEvent": (FIRST,), "A": (LAST,)}
        assert built.types == {"StartEvent": StartEvent, "A": A, "StopEvent": StopEvent}
        assert built.step_by_name == {"first": FIRST, "last": LAST}

    def test_one_step_is_enough(self) -> None:
        """A workflow may be one step from start to result."""
        assert build(step("only", [StartEvent], [StopEvent])).start is StartEvent

    def test_an_event_goes_to_every_accepting_step(self) -> None:
        """Two steps may take one type; both get it."""
        other = step("other", [A], [])
        assert build(FIRST, LAST, other).accepting["A"] == (LAST, other)

    def test_a_loop_is_fine_where_it_has_a_way_out(self) -> None:
        """A step may send what leads back to it, as for a second try."""
        built = build(FIRST, step("retry", [A], [B, StopEvent]), step("back", [B], [A]))
        assert set(built.accepting) == {"StartEvent", "A", "B"}

    def test_a_step_that_only_returns_none_ends_its_branch(self) -> None:
        """A branch may end without a result, as long as another has one."""
        assert len(build(FIRST, LAST, step("log", [A], [])).steps) == 3

    def test_a_start_event_may_come_from_a_loop(self) -> None:
        """A StartEvent that a step returns again is still the start."""
        assert build(step("only", [StartEvent], [StartEvent, StopEvent])).start is StartEvent

    @pytest.mark.parametrize("start", [Topic, Ask])
    def test_the_start_event_is_found(self, start: type[Event]) -> None:
        """A StartEvent of one's own, or the one event that nothing gives, starts the run."""
        assert build(step("first", [start], [A]), LAST).start is start

    def test_a_named_start_event_is_taken(self) -> None:
        """`start_event_type` decides where two could start."""
        steps = step("first", [Topic], [A]), LAST, step("again", [Ask], [StopEvent])
        with pytest.raises(WorkflowValidationError, match="again accepts Ask, which no step"):
            build(*steps, start=Topic)
        assert build(*steps[:2], start=Topic).start is Topic

    def test_result_types_are_found(self) -> None:
        """Every StopEvent subclass that is returned ends a run, and so does the named type."""
        both = step("both", [StartEvent], [Judgement, StopEvent])
        assert build(both).results == (Judgement, StopEvent)
        assert build(step("only", [StartEvent], [Answer]), result=Answer).results == (Answer,)

    def test_own_start_and_result_classes_need_no_base(self) -> None:
        """`result_event_type` and an event that nothing gives are enough."""
        built = build(step("first", [Ask], [A]), step("last", [A], [Answer]), result=Answer)
        assert (built.start, built.results) == (Ask, (Answer,))


class TestIsResult:
    def test_a_stop_event_of_any_kind_is_a_result(self) -> None:
        """A subclass ends the run also where no annotation names it."""
        built = build(FIRST, LAST)
        assert built.is_result(StopEvent())
        assert built.is_result(Judgement())

    def test_a_named_result_is_a_result_by_its_exact_type(self) -> None:
        """Routing is by exact type, and so is this."""

        class Narrow(Answer):
            """More special."""

        built = build(step("only", [StartEvent], [Answer]), result=Answer)
        assert built.is_result(Answer())
        assert not built.is_result(Narrow())
        assert not built.is_result(A())


def taking_subclasses(name: str, accepts: list[type[Event]], returns: list[type[Event]]) -> Step:
    """Return a step with `accept_event_subclasses`."""
    return replace(step(name, accepts, returns), options=Options(accept_event_subclasses=True))


class Cat(A):
    """A kind of A."""


class TestSubclasses:
    def test_a_type_is_taken_exactly_unless_the_step_says_otherwise(self) -> None:
        """Both steps accept A, one of them what inherits from it, too."""
        exact, any_a = step("exact", [A], [StopEvent]), taking_subclasses("any_a", [A], [])
        built = build(step("first", [StartEvent], [A, Cat]), exact, any_a)
        assert built.accepting == {
            "StartEvent": (built.step_by_name["first"],),
            "A": (exact, any_a),
            "Cat": (any_a,),
        }

    def test_a_type_that_no_step_names_is_found(self) -> None:
        """A step may return a subclass of what it says: who takes it, and by which name."""

        class Kitten(Cat):
            """Nowhere in an annotation."""

        built = build(FIRST, taking_subclasses("last", [A], [StopEvent]))
        assert [taker.name for taker in built.accepting_type(Kitten)] == ["last"]
        assert "Kitten" not in built.accepting
        assert built.type_called("Kitten") is Kitten
        assert built.type_called("StartEvent") is StartEvent
        assert built.type_called("B") is None

    def test_a_result_ends_the_run_whatever_a_step_takes(self) -> None:
        """A step that takes every Event takes no StopEvent and no result of the workflow's own."""
        every = taking_subclasses("every", [Event], [])
        built = build(FIRST, step("last", [A], [Answer, Judgement]), every, result=Answer)
        assert [taker.name for taker in built.accepting_type(Answer)] == []
        assert [taker.name for taker in built.accepting_type(Judgement)] == []
        assert set(built.accepting) == {"StartEvent", "A", "Event"}

    def test_a_subclass_is_enough_for_the_checks(self) -> None:
        """What gives a subclass feeds the step, and the step ends the branch of the subclass."""
        build(step("first", [StartEvent], [Cat]), taking_subclasses("last", [A], [StopEvent]))
        found = findings(step("first", [StartEvent], [Cat]), step("last", [A], [StopEvent]))
        assert "step last accepts A, which no step returns" in str(found)


class TestInvalid:
    def test_no_steps(self) -> None:
        """A class without steps says how to make one."""
        assert findings() == ["it has no steps; mark its async methods with @step"]

    def test_nothing_starts_it(self) -> None:
        """Where every event comes from a step, no run could begin."""
        (found,) = findings(step("a", [A], [B]), step("b", [B], [A]))
        assert found.startswith("exactly one event type must start it, found none; annotate one")

    def test_two_start_events(self) -> None:
        """Both candidates are named, and the way to choose."""
        other = step("other", [Topic], [A])
        (found,) = findings(FIRST, other, LAST)
        assert "found StartEvent, Topic;" in found
        assert "set start_event_type" in found

    def test_a_named_start_that_no_step_accepts(self) -> None:
        """`start_event_type` names a type that some step must take."""
        (found,) = findings(FIRST, LAST, start=Topic)
        assert found == "no step accepts Topic, which starts it; annotate one with it"

    def test_no_result(self) -> None:
        """A run must be able to end."""
        found = findings(FIRST, step("last", [A], []))
        assert found == [
            "no step returns StopEvent, so no run could end; return it from the last step"
        ]

    def test_a_named_result_that_no_step_returns(self) -> None:
        """`result_event_type` names a type that some step must return."""
        found = findings(FIRST, step("last", [A], []), result=Answer)
        assert found == [
            "no step returns Answer, so no run could end; return it from the last step"
        ]

    @pytest.mark.parametrize("result", [StopEvent, Judgement, Answer])
    def test_a_step_that_accepts_the_result(self, result: type[Event]) -> None:
        """Nothing happens after a result, so no step may take one."""
        late = step("late", [result], [A])
        found = findings(step("first", [StartEvent], [A, result]), LAST, late, result=result)
        name = result.__name__
        assert f"step late accepts {name}, which ends the run; remove it" in found

    def test_an_event_that_is_taken_and_never_given(self) -> None:
        """Step and event are named, and where to add what is missing."""
        found = findings(FIRST, LAST, step("extra", [B], [StopEvent]))
        assert found[0] == (
            "step extra accepts B, which no step returns; "
            "add it to the return type of the step that sends it"
        )

    def test_an_event_that_is_given_and_never_taken(self) -> None:
        """Step and event are named, and both ways out."""
        found = findings(step("first", [StartEvent], [A, B]), LAST)
        (only,) = found
        assert only == (
            "step first returns B, which no step accepts; "
            "add a step that takes it, or return StopEvent"
        )

    def test_the_way_out_names_the_workflows_own_result(self) -> None:
        """Where results have a type of their own, that is what to return."""
        found = findings(step("only", [StartEvent], [Answer, B]), result=Answer)
        assert found[0].endswith("or return Answer")

    def test_steps_that_nothing_reaches(self) -> None:
        """Steps that only feed each other are found, each with what it waits for."""
        island = step("one", [B], [C]), step("two", [C], [B])
        found = findings(FIRST, LAST, *island)
        assert (
            "[reachability] step one can never run: nothing that follows StartEvent gives B"
            in found
        )
        assert any(each.startswith("[reachability] step two") for each in found)

    def test_a_dead_end(self) -> None:
        """A circle without a way to the result is found, with the step that enters it."""
        circle = step("in", [StartEvent], [A, B]), step("one", [B], [C]), step("two", [C], [B])
        found = findings(*circle, LAST)
        assert found == [
            f"[dead_end] step {name} leads nowhere: no event that it returns ever reaches StopEvent"
            for name in ("one", "two")
        ]

    def test_two_types_of_one_name(self) -> None:
        """A topic is named after the type, so two types of one name cannot be told apart."""
        twin = type("A", (Event,), {})
        found = findings(FIRST, LAST, step("more", [StartEvent], [twin]), step("t", [twin], []))
        assert found[0].startswith("two event types are called A (")
        assert found[0].endswith("rename one")

    @pytest.mark.parametrize("name", sorted(RESERVED_TYPE_NAMES))
    def test_names_that_topics_have(self, name: str) -> None:
        """A type called like one of the workflow's other topics would be mixed up with it."""
        taken = type(name, (Event,), {})
        found = findings(step("first", [StartEvent], [taken]), step("last", [taken], [StopEvent]))
        assert found == [f"no event type may be called {name}; rename it"]

    @pytest.mark.parametrize("name", ["Café", "Box[Café]", "X" * 101])
    def test_names_that_no_topic_may_have(self, name: str) -> None:
        """What Kafka refuses in a topic's name is found before there is a topic."""
        odd = type(name, (Event,), {})
        (found,) = findings(step("first", [StartEvent], [odd]), step("last", [odd], [StopEvent]))
        assert f"{type_name(odd)!r} cannot be the name of an event type" in found

    def test_everything_is_reported_at_once(self) -> None:
        """One run of the check finds all, so that mending is one round."""
        found = findings(step("first", [StartEvent], [A, B]), step("extra", [C], [StopEvent]))
        assert len(found) == 5
