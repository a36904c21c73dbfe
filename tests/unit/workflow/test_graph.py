"""The graph: who takes an event, what starts and ends a run."""

import pytest
from declared_steps import (
    FIRST,
    LAST,
    A,
    Answer,
    Ask,
    B,
    C,
    Cat,
    Judgement,
    Topic,
    step,
)

from fleet import (
    Event,
    StartEvent,
    StopEvent,
    WorkflowConfigurationError,
    WorkflowValidationError,
)
from fleet.workflow import graph
from fleet.workflow.errors import UnclearEnds
from fleet.workflow.graph import Graph
from fleet.workflow.steps import Step


def build(
    *steps: Step, start: type[Event] | None = None, result: type[Event] | None = None
) -> Graph:
    """Build the graph of a workflow called Flow."""
    return graph.build("Flow", steps, start, result)


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
        assert build(*steps, start=Topic).start is Topic

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


class TestSubclasses:
    def test_a_type_is_taken_exactly_unless_the_step_says_otherwise(self) -> None:
        """Both steps accept A, one of them what inherits from it, too."""
        exact, any_a = (
            step("exact", [A], [StopEvent]),
            step("any_a", [A], [], accept_event_subclasses=True),
        )
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

        built = build(FIRST, step("last", [A], [StopEvent], accept_event_subclasses=True))
        assert [taker.name for taker in built.accepting_type(Kitten)] == ["last"]
        assert "Kitten" not in built.accepting
        assert built.type_called("Kitten") is Kitten
        assert built.type_called("StartEvent") is StartEvent
        assert built.type_called("B") is None

    def test_by_name_as_by_type(self) -> None:
        """A record has the name alone; of a type that only exact steps take, it is unknown."""

        class Puppy(B):
            """Its base is taken exactly."""

        class Kitten(Cat):
            """Its base is taken with subclasses."""

        any_a = step("last", [A], [StopEvent], accept_event_subclasses=True)
        built = build(step("first", [StartEvent], [A, B]), any_a, step("b", [B], []))
        by_name = {
            kind: [taker.name for taker in built.accepting_called(kind.__name__)]
            for kind in (A, Kitten, B, Puppy, C)
        }
        assert by_name == {A: ["last"], Kitten: ["last"], B: ["b"], Puppy: [], C: []}
        assert (built.type_called("Kitten"), built.type_called("Puppy")) == (Kitten, None)

    def test_a_result_ends_the_run_whatever_a_step_takes(self) -> None:
        """A step that takes every Event takes no StopEvent and no result of the workflow's own."""
        every = step("every", [Event], [], accept_event_subclasses=True)
        built = build(FIRST, step("last", [A], [Answer, Judgement]), every, result=Answer)
        assert [taker.name for taker in built.accepting_type(Answer)] == []
        assert [taker.name for taker in built.accepting_type(Judgement)] == []
        assert set(built.accepting) == {"StartEvent", "A", "Event"}


def unclear(*steps: Step, start: type[Event] | None = None) -> list[str]:
    """Return why it is not clear what starts or ends a run."""
    with pytest.raises(UnclearEnds, match=r"^Flow is not a valid workflow:") as caught:
        build(*steps, start=start)
    # Code for either library's error catches it.
    assert isinstance(caught.value, WorkflowConfigurationError)
    assert isinstance(caught.value, WorkflowValidationError)
    return caught.value.findings


class TestUnclear:
    def test_no_steps(self) -> None:
        """A class without steps says how to make one."""
        (found,) = unclear()
        assert found.startswith("it has no steps; mark its async methods with @step, or add")

    def test_nothing_starts_it(self) -> None:
        """Where every event comes from a step, no run could begin."""
        found = unclear(step("a", [A], [B]), step("b", [B], [A, StopEvent]))[0]
        assert found.startswith("exactly one event type must start it, found none; annotate one")

    def test_two_start_events(self) -> None:
        """Both candidates are named, and the way to choose."""
        other = step("other", [Topic], [A])
        (found,) = unclear(FIRST, other, LAST)
        assert "found StartEvent, Topic;" in found
        assert "set start_event_type" in found

    def test_a_named_start_that_no_step_accepts(self) -> None:
        """`start_event_type` names a type that some step must take."""
        (found,) = unclear(FIRST, LAST, start=Topic)
        assert found == "no step accepts Topic, which starts it; annotate one with it"

    def test_a_step_that_takes_every_event_starts_nothing(self) -> None:
        """It would take the start event of any workflow."""
        found = unclear(step("every", [Event], [StopEvent], accept_event_subclasses=True))
        assert found[0].startswith("exactly one event type must start it, found none")

    def test_start_and_end_are_reported_together(self) -> None:
        """One round of mending is enough."""
        found = unclear(step("a", [A], [B]), step("b", [B], [A]))
        assert [each.split(",")[0] for each in found] == [
            "exactly one event type must start it",
            "no step returns StopEvent",
        ]
