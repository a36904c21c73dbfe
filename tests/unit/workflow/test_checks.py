"""What can be wrong with a graph: one finding for each thing, and which checks can be skipped."""

import pytest
from declared_steps import (
    FIRST,
    LAST,
    A,
    Answer,
    B,
    C,
    Cat,
    Judgement,
    join,
    step,
)

from fleet import (
    All,
    Collect,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    WorkflowConfigurationError,
    WorkflowValidationError,
)
from fleet.records.events import type_name
from fleet.workflow import checks, graph
from fleet.workflow.checks import RESERVED_TYPE_NAMES
from fleet.workflow.failing.catching import Catches
from fleet.workflow.steps import Step

ALL = Collect(All())


def findings(
    *steps: Step, result: type[Event] | None = None, skips: frozenset[str] = frozenset()
) -> list[str]:
    """Return what is wrong with these steps."""
    return checks.findings(graph.build("Flow", steps, None, result), skips)


class Ask(InputRequiredEvent):
    pass


class Say(HumanResponseEvent):
    pass


def handler(name: str, returns: list[type[Event]], *names: str, wild: bool = False) -> Step:
    """Return a handler of the steps *names*, or of all if it is *wild*."""
    catches = Catches(None if wild else names)
    return step(name, [StepFailedEvent], returns, catches=catches)


class TestHandlers:
    """Handlers of failures: which steps they are for, and what they lead to."""

    def test_a_handler_takes_what_no_step_returns(self) -> None:
        """The engine sends it."""
        assert not findings(FIRST, LAST, handler("rescue", [StopEvent], wild=True))

    def test_another_step_that_takes_failures_is_told_to_be_one(self) -> None:
        (found,) = findings(FIRST, LAST, step("rescue", [StepFailedEvent], [StopEvent]))
        assert "mark it with @catch_error in the place of @step" in found

    def test_a_failure_starts_no_run(self) -> None:
        """It is no candidate for the start, although no step returns it."""
        ask = step("ask", [Answer], [StopEvent])
        assert graph.build("F", [ask, handler("rescue", [StopEvent], wild=True)], None, None)

    def test_what_follows_from_a_handler_is_reached(self) -> None:
        """But not from one whose steps never run."""
        follows = step("follows", [B], [StopEvent])
        assert not findings(FIRST, LAST, handler("rescue", [B], "last"), follows)
        island = step("island", [C], [C])
        found = findings(FIRST, LAST, handler("rescue", [B], "island"), follows, island)
        assert any("step follows can never run" in one for one in found)

    def test_a_handler_from_which_nothing_leads_to_a_result_is_a_dead_end(self) -> None:
        circle = step("circle", [B], [B])
        found = findings(FIRST, LAST, handler("rescue", [B], wild=True), circle)
        assert [one.split()[:3] for one in found] == [
            ["[dead_end]", "step", "rescue"],
            ["[dead_end]", "step", "circle"],
        ]

    @pytest.mark.parametrize(
        ("handlers", "said"),
        [
            (
                [handler("a", [StopEvent], wild=True), handler("b", [StopEvent], wild=True)],
                "a and b each handle the failures of every step",
            ),
            ([handler("a", [StopEvent], "nope")], "for step 'nope', which there is not"),
            (
                [handler("a", [StopEvent], "last"), handler("b", [StopEvent], "last")],
                "handlers a and b are both for step last",
            ),
            (
                [handler("a", [StopEvent], "b"), handler("b", [StopEvent], "last")],
                "handler a is for b, which handles failures itself",
            ),
            ([handler("a", [StopEvent], "a")], "handler a is for a, which handles"),
            ([handler("a", [StopEvent])], "handler a can never run: its for_steps is empty"),
        ],
        ids=["two wild", "unknown", "twice", "a handler", "itself", "none"],
    )
    def test_a_handler_for_the_wrong_steps_is_a_finding(
        self, handlers: list[Step], said: str
    ) -> None:
        (found,) = findings(FIRST, LAST, *handlers)
        assert said in found

    def test_the_handler_that_names_a_step_has_it(self) -> None:
        """Whichever stands first; no handler has a handler."""
        wild, named = handler("wild", [StopEvent], wild=True), handler("named", [StopEvent], "last")
        for several in ([wild, named], [named, wild]):
            made = graph.build("F", [FIRST, LAST, *several], None, None)
            found = {name: one.name for name, one in made.handler_of.items()}
            assert found == {"first": "wild", "last": "named"}


class TestOutside:
    """Questions go outside, and answers come from there."""

    def test_a_question_and_an_answer_need_no_step_of_the_other_side(self) -> None:
        assert not findings(step("ask", [StartEvent], [Ask]), step("end", [Say], [StopEvent]))

    def test_an_answer_may_lead_to_another_question(self) -> None:
        first, again = step("first", [StartEvent], [StopEvent]), step("again", [Say], [Ask])
        assert not findings(first, again)

    def test_an_answer_begins_no_run(self) -> None:
        built = graph.build(
            "Flow", [step("take", [Say], [A]), step("end", [A], [StopEvent])], A, None
        )
        assert built.start is A

    def test_a_question_that_no_step_asks_is_found(self) -> None:
        found = findings(step("first", [StartEvent], [StopEvent]), step("take", [Ask], [StopEvent]))
        assert [text.split("]")[0] for text in found] == ["[reachability"]

    def test_an_answer_that_a_step_returns_needs_a_step(self) -> None:
        found = findings(step("first", [StartEvent], [Say, StopEvent]))
        assert [text.split("]")[0] for text in found] == ["[terminal_event"]


class TestFound:
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
        assert found == [
            (
                "[reachability] step extra accepts B, which no step returns; "
                "add it to the return type of the step that sends it"
            )
        ]

    def test_an_event_that_is_given_and_never_taken(self) -> None:
        """Step and event are named, and both ways out."""
        found = findings(step("first", [StartEvent], [A, B]), LAST)
        (only,) = found
        assert only == (
            "[terminal_event] step first returns B, which no step accepts; "
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
        assert found[:2] == [
            f"[reachability] step {name} can never run: nothing that follows StartEvent gives "
            f"{event}; return it from a step that runs, or remove {name}"
            for name, event in (("one", "B"), ("two", "C"))
        ]

    def test_a_dead_end(self) -> None:
        """A circle without a way to the result is found, with the step that enters it."""
        circle = step("in", [StartEvent], [A, B]), step("one", [B], [C]), step("two", [C], [B])
        found = findings(*circle, LAST)
        assert found == [
            f"[dead_end] step {name} leads nowhere: {event} never reaches StopEvent; return "
            "StopEvent from it, or from a step that follows it"
            for name, event in (("one", "C"), ("two", "B"))
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
        assert len(found) == 3

    def test_nothing_is_said_twice(self) -> None:
        """A step whose event nothing gives cannot run, and one whose event nothing takes is no
        way to the end: that is the same mistake.
        """
        extra = step("extra", [B], [C])
        assert [each.split("]")[0] for each in findings(FIRST, LAST, extra)] == [
            "[reachability",
            "[terminal_event",
        ]

    def test_a_subclass_is_enough(self) -> None:
        """What gives a subclass feeds the step, and the step ends the branch of the subclass."""
        giving = step("first", [StartEvent], [Cat])
        any_a = step("last", [A], [StopEvent], accept_event_subclasses=True)
        assert findings(giving, any_a) == []
        assert findings(giving, LAST) == [
            (
                "[reachability] step last accepts A, which no step returns; add it to the return "
                "type of the step that sends it"
            ),
            (
                "[terminal_event] step first returns Cat, which no step accepts; let step last "
                "take it with @step(accept_event_subclasses=True), add a step that takes it, or "
                "return StopEvent"
            ),
        ]


SPLIT = step("split", [StartEvent], [], lists=[A])


class TestJoins:
    def test_a_fan_out_with_its_join(self) -> None:
        """Members, and what follows from them step by step, may be collected."""
        work = step("work", [A], [B])
        assert findings(SPLIT, work, step("join", [B], [StopEvent], collect=ALL)) == []
        assert findings(SPLIT, step("join", [A], [StopEvent], collect=ALL)) == []

    def test_a_list_that_no_fan_out_fills(self) -> None:
        """It would wait for ever. Collector, type and both ways out are named."""
        assert findings(FIRST, step("collect", [A], [StopEvent], collect=ALL)) == [
            (
                "step collect collects list[A], and no step that returns a list leads to A; return "
                "`list[...]` from the step that fans out, or take single events, `ev: A`, and "
                "collect them with ctx.collect_events"
            )
        ]

    def test_the_join_of_a_level_above_is_none_of_a_level_below(self) -> None:
        """What a join returns is outside of the list that it closed."""
        close = step("close", [A], [B], collect=ALL)
        again = step("again", [B], [StopEvent], collect=ALL)
        (found,) = findings(SPLIT, close, again)
        assert found.startswith("step again collects list[B], and no step that returns a list")

    def test_a_list_of_what_nothing_gives_is_found_once(self) -> None:
        """It says that no step returns it, and no more."""
        (found,) = findings(FIRST, LAST, step("collect", [B], [StopEvent], collect=ALL))
        assert found.startswith("[reachability] step collect accepts B, which no step returns")

    def test_parameters_that_never_meet(self) -> None:
        """One in the list, one outside: each parameter says its place."""
        aside = step("aside", [StartEvent], [B])
        meet = join("meet", {"a": A, "b": B}, [StopEvent])
        assert findings(SPLIT, aside, meet) == [
            (
                "step meet joins a: A and b: B, which never meet: A comes in the list of step "
                "split; B comes outside of any list; take events of one fan-out, or all from "
                "outside of it"
            )
        ]

    def test_a_join_that_waits_for_itself(self) -> None:
        """It cannot begin before it has returned; the missing event is named."""
        meet = join("meet", {"start": StartEvent, "b": B}, [B, StopEvent])
        (found,) = findings(step("aside", [StartEvent], [StopEvent]), meet)
        assert found.startswith("[reachability] step meet can never run: nothing that follows St")
        assert "gives B; return it" in found

    def test_parameters_that_meet(self) -> None:
        """Outside of any list, in one list, or after a join, which is outside again."""
        both, meet = step("both", [StartEvent], [A, B]), join("meet", {"a": A, "b": B}, [StopEvent])
        assert findings(both, meet) == []
        assert findings(SPLIT, step("work", [A], [B]), meet) == []
        close, aside = step("close", [C], [A], collect=ALL), step("aside", [StartEvent], [B])
        assert findings(step("split", [StartEvent], [], lists=[C]), close, aside, meet) == []


class TestSkipped:
    ISLAND = step("island", [B], [StopEvent])
    SHOWS = step("shows", [StartEvent], [A, B])
    CIRCLE = step("enter", [StartEvent], [A, B]), step("round", [B], [B])

    @pytest.mark.parametrize(
        ("check", "steps"),
        [
            ("reachability", (FIRST, LAST, ISLAND)),
            ("terminal_event", (SHOWS, LAST)),
            ("dead_end", (*CIRCLE, LAST)),
        ],
    )
    def test_a_workflow_skips_a_check(self, check: str, steps: tuple[Step, ...]) -> None:
        """The finding begins with the name of the check that finds it."""
        assert [each.split("]")[0] for each in findings(*steps)] == [f"[{check}"]
        assert findings(*steps, skips=frozenset({check})) == []
        others = checks.CHECKS - {check}
        assert len(findings(*steps, skips=others)) == 1

    def test_a_step_skips_a_check_for_itself(self) -> None:
        """Another step is still checked."""
        skipping = step("island", [B], [StopEvent], skip_graph_checks=frozenset({"reachability"}))
        assert findings(FIRST, LAST, skipping) == []
        assert len(findings(FIRST, LAST, skipping, step("other", [C], [StopEvent]))) == 1

    def test_what_cannot_be_skipped(self) -> None:
        """A list that no fan-out fills would wait for ever, whatever is skipped."""
        steps = FIRST, step("collect", [A], [StopEvent], collect=ALL)
        assert len(findings(*steps, skips=checks.CHECKS)) == 1

    @pytest.mark.parametrize("wrong", ["dead_end", ["deadend"], [1], {"x"}], ids=repr)
    def test_names_of_checks_are_checked(self, wrong: list[str]) -> None:
        """As in the reference it is a validation error; here it names what there is."""
        told = r"^here (knows no check 'deadend|knows no check 'x|takes names of checks)"
        with pytest.raises(WorkflowValidationError, match=told) as caught:
            checks.names(wrong, "here")
        assert isinstance(caught.value, WorkflowConfigurationError)
