"""A workflow class: its names, its steps wherever they come from, its start and its result."""

# The bodies of these steps never run.
# mypy: disable-error-code="empty-body"

import functools
import re
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar, cast

import pytest
from pydantic import Field

import fleet
from fleet import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowConfigurationError,
    WorkflowValidationError,
    step,
)
from fleet.workflow import definition
from fleet.workflow.definition import Definition

T = TypeVar("T")


class JokeEvent(Event):
    joke: str


class TopicStart(StartEvent):
    topic: str
    tone: str = "dry"


class Judgement(StopEvent):
    verdict: str


class JokeFlow(Definition):
    @step
    async def generate(self, ev: StartEvent) -> JokeEvent: ...
    @step
    async def critique(self, ev: JokeEvent) -> StopEvent: ...


class TopicFlow(Definition):
    @step
    async def only(self, ev: TopicStart) -> StopEvent: ...


class Forward(Definition):
    @step
    async def only(self, ev: "Later") -> StopEvent: ...


class Later(StartEvent):
    """Defined after the workflow that names it."""


def new_class(
    name: str, base: type[Definition] = Definition, options: dict[str, Any] | None = None
) -> type[Definition]:
    """Return a workflow class without a body."""
    return cast("type[Definition]", types.new_class(name, (base,), options))


class TestNames:
    @pytest.mark.parametrize(
        ("class_name", "expected"),
        [
            ("JokeFlow", "joke"),
            ("JokeWorkflow", "joke"),
            ("Joke", "joke"),
            ("LongJokeFlow", "long_joke"),
            ("HTTPFetchFlow", "http_fetch"),
            ("Joke2Flow", "joke2"),
            ("FlowControl", "flow_control"),
            ("Flow", "flow"),
            ("Workflow", "workflow"),
        ],
    )
    def test_a_workflow_is_named_after_its_class(self, class_name: str, expected: str) -> None:
        """CamelCase becomes snake_case, without the word that says that it is a workflow."""
        assert new_class(class_name).workflow_name == expected

    def test_names_may_be_given(self) -> None:
        """`workflow=` and `group=` in the class statement win."""

        class Summarise(Definition, workflow="digest", group="summarise"): ...

        assert (Summarise.workflow_name, Summarise.group_name) == ("digest", "summarise")

    def test_a_subclass_is_a_workflow_of_its_own(self) -> None:
        """Given names are not inherited: two classes would share topics."""

        class First(Definition, workflow="digest", group="one"): ...

        class Second(First): ...

        assert (Second.workflow_name, Second.group_name) == ("second", "main")

    @pytest.mark.parametrize("name", ["a.b", "a b", "ü", "a/b"])
    @pytest.mark.parametrize("what", ["workflow", "group"])
    def test_a_name_that_no_topic_may_have_is_refused(self, name: str, what: str) -> None:
        """Both are part of topic names, so a name that Kafka refuses is refused here."""
        with pytest.raises(WorkflowConfigurationError, match=f"{name!r} cannot be the {what} of X"):
            new_class("X", options={what: name})


class TestGraph:
    def test_the_graph_is_built_once(self) -> None:
        """Every run of the class uses the same graph."""
        assert definition.graph(JokeFlow) is definition.graph(JokeFlow)

    def test_steps_are_in_the_order_of_the_class(self) -> None:
        """Whoever shows the graph shows it as it was written."""
        assert [each.name for each in definition.graph(JokeFlow).steps] == ["generate", "critique"]

    def test_inherited_steps_are_steps(self) -> None:
        """A subclass has the steps of its bases, and may replace one by its name."""

        class Twist(JokeFlow):
            @step(num_workers=1)
            async def critique(self, ev: JokeEvent) -> Judgement: ...

        graph = definition.graph(Twist)
        assert [each.name for each in graph.steps] == ["generate", "critique"]
        assert graph.results == (Judgement,)
        assert graph.step_by_name["critique"].options.num_workers == 1
        assert definition.graph(JokeFlow).results == (StopEvent,)

    def test_a_step_may_come_from_a_mixin(self) -> None:
        """A class that is no workflow can hold steps for those that are."""

        class Critic:
            @step
            async def critique(self, ev: JokeEvent) -> StopEvent: ...

        class Mixed(Critic, Definition):
            @step
            async def generate(self, ev: StartEvent) -> JokeEvent: ...

        assert set(definition.graph(Mixed).step_by_name) == {"generate", "critique"}

    def test_an_inherited_step_can_be_taken_away(self) -> None:
        """Whatever replaces a step in a subclass and is no step removes it."""

        class Short(JokeFlow):
            critique = None  # type: ignore[assignment]

        with pytest.raises(WorkflowValidationError, match="returns JokeEvent, which no step"):
            definition.graph(Short)

    def test_event_types_may_be_defined_after_the_class(self) -> None:
        """Annotations are resolved when the graph is first used."""
        assert definition.graph(Forward).start is Later

    def test_local_event_types_are_found(self) -> None:
        """Classes inside a function, as in a test or a notebook, may name each other as text."""

        class Local(StartEvent): ...

        class Flow(Definition):
            @step
            async def only(self, ev: "Local") -> "StopEvent": ...

        assert definition.graph(Flow).start is Local

    def test_an_inherited_step_sees_the_types_around_its_own_class(self) -> None:
        """Not those of the same name around the subclass, also once the base was used."""

        def make() -> type[Definition]:
            class Local(StartEvent):
                base: str = ""

            class Base(Definition):
                @step
                async def only(self, ev: "Local") -> StopEvent: ...

            return Base

        class Local(StartEvent):
            """What the subclass would see."""

        base = make()
        derived = new_class("Derived", base)
        assert definition.graph(base).start is not Local
        assert definition.graph(derived).start is definition.graph(base).start

    def test_a_callers_names_are_not_seen(self) -> None:
        """What a function in another module calls so does not change a workflow's types."""
        source = "def call(function):\n    class JokeEvent: pass\n    return function()\n"
        elsewhere: dict[str, Any] = {}
        exec(source, elsewhere)  # noqa: S102 - a module of its own

        def make() -> type[Definition]:
            class Flow(Definition):
                @step
                async def generate(self, ev: StartEvent) -> "JokeEvent": ...
                @step
                async def critique(self, ev: "JokeEvent") -> StopEvent: ...

            return Flow

        flow: type[Definition] = elsewhere["call"](make)
        assert definition.graph(flow).types["JokeEvent"] is JokeEvent

    def test_own_start_and_result_events(self) -> None:
        """Events that share nothing with ours but their base can start and end a run."""

        class Begin(Event):
            topic: str

        class End(Event):
            text: str

        class Flow(Definition):
            result_event_type: ClassVar[type[Event] | None] = End

            @step
            async def only(self, ev: Begin) -> End: ...

        assert definition.graph(Flow).start is Begin
        assert definition.result_of(Flow, End(text="x")) == End(text="x")

    def test_every_finding_of_every_step_is_reported_at_once(self) -> None:
        """Two wrong steps are one error, which names the workflow, at the class statement."""

        with pytest.raises(WorkflowValidationError, match=r"^Flow is not a valid") as caught:

            class Flow(Definition):
                @step
                async def one(self, ev: StartEvent): ...  # type: ignore[no-untyped-def]
                @step
                async def two(self, ev: str) -> StopEvent: ...

        assert [each.split()[:5] for each in caught.value.findings] == [
            ["step", "one", "does", "not", "say"],
            ["parameter", "ev", "of", "step", "two"],
        ]

    def test_a_wrapped_step_is_read_through_its_wrapper(self) -> None:
        """A decorator below `@step` that keeps the name keeps the annotations, too."""

        def traced(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            async def call(*args: Any, **arguments: Any) -> Any:
                return await function(*args, **arguments)

            return call

        class Flow(Definition):
            @step
            @traced
            async def only(self, ctx: Context, ev: StartEvent) -> StopEvent: ...

        assert definition.graph(Flow).step_by_name["only"].context_parameter == "ctx"


class Lonely(Workflow):
    """Its second step waits for something from outside."""

    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=1)

    @step
    async def woken(self, ev: JokeEvent) -> StopEvent: ...


class TestSkippedChecks:
    async def test_an_instance_skips_a_check(self) -> None:
        """It runs and validates; an instance that skips nothing is refused as before."""
        flow = Lonely(skip_graph_checks={"reachability"})
        flow.validate()
        assert await flow.run() == 1
        with pytest.raises(
            WorkflowValidationError, match=r"\[reachability\] step woken accepts Jo"
        ):
            Lonely()

    def test_a_class_skips_a_check_for_all_who_ask(self) -> None:
        """A subclass inherits that, or says its own."""

        class Skipping(Lonely, skip_graph_checks={"reachability"}):
            pass

        class Heir(Skipping):
            pass

        class Strict(Skipping, skip_graph_checks=()):
            pass

        Skipping()
        assert "woken" in definition.graph(Heir).step_by_name
        with pytest.raises(WorkflowValidationError, match="step woken accepts JokeEvent"):
            definition.graph(Strict)

    def test_a_step_skips_a_check_for_itself(self) -> None:
        """The others are still checked."""

        class Flow(Lonely):
            @step(skip_graph_checks=["reachability"])
            async def woken(self, ev: JokeEvent) -> StopEvent: ...

        Flow()

    @pytest.mark.parametrize(
        "make",
        [
            lambda: step(skip_graph_checks=["ends"]),
            lambda: Lonely(skip_graph_checks={"ends"}),
            lambda: type("Flow", (Lonely,), {}, skip_graph_checks={"ends"}),
        ],
    )
    def test_an_unknown_check_is_refused(self, make: Callable[[], object]) -> None:
        """It names those that there are."""
        told = r"knows no check 'ends'; the checks are dead_end, reachability, terminal_event$"
        with pytest.raises(WorkflowConfigurationError, match=told):
            make()

    def test_the_graph_stays_the_one_that_is_in_use(self) -> None:
        """Another instance's check makes no second one."""

        class Flow(Lonely):
            pass

        Flow(skip_graph_checks={"reachability"})
        first = definition.graph_in_use(Flow)
        Flow(skip_graph_checks={"reachability", "dead_end"})
        assert definition.graph(Flow) is first


class TestStartEvent:
    def test_fields_make_the_start_event(self) -> None:
        """`run(topic=...)` makes the event that the first step takes."""
        made = definition.start_event(TopicFlow, None, {"topic": "x"})
        assert made == TopicStart(topic="x")

    def test_a_plain_start_event_takes_any_fields(self) -> None:
        """Without declared fields there is nothing to check."""
        assert definition.start_event(JokeFlow, None, {"topic": 1, "a": [2]}).get("a") == [2]

    def test_an_event_is_taken_as_it_is(self) -> None:
        """`run(event)` starts with that very event."""
        event = TopicStart(topic="x")
        assert definition.start_event(TopicFlow, event, {}) is event

    def test_a_missing_field_is_named(self) -> None:
        """The error names workflow, field, event and what the event has."""
        with pytest.raises(
            WorkflowConfigurationError,
            match=r"^TopicFlow cannot start: topic: .*required; TopicStart has the fields topic, t",
        ):
            definition.start_event(TopicFlow, None, {})

    def test_a_wrong_value_is_named(self) -> None:
        """The error names the field that the value is wrong for."""
        with pytest.raises(WorkflowConfigurationError, match="TopicFlow cannot start: tone: "):
            definition.start_event(TopicFlow, None, {"topic": "x", "tone": 5})

    @pytest.mark.parametrize("base", [StartEvent, Event])
    def test_an_unknown_field_is_named_where_fields_are_declared(self, base: type[Event]) -> None:
        """A typo is found even though a StartEvent could hold anything."""
        start = type("Begin", (base,), {"__annotations__": {"topic": str}})

        class Flow(Definition):
            @step
            async def only(self, ev: start) -> StopEvent: ...  # type: ignore[valid-type]

        with pytest.raises(
            WorkflowConfigurationError, match="takes no topik; Begin has the fields topic"
        ):
            definition.start_event(Flow, None, {"topic": "x", "topik": "y"})

    def test_a_start_event_that_chose_to_take_anything_does(self) -> None:
        """An Event class that allows more fields than it declares means it."""

        class Begin(Event, extra="allow"):
            topic: str

        class Flow(Definition):
            @step
            async def only(self, ev: Begin) -> StopEvent: ...

        assert definition.start_event(Flow, None, {"topic": "x", "more": 1}).get("more") == 1

    def test_an_alias_is_a_name_of_its_field(self) -> None:
        """Where a field has an alias, that is what `run` takes."""

        class Begin(StartEvent):
            sender: str = Field(alias="from")

        class Flow(Definition):
            @step
            async def only(self, ev: Begin) -> StopEvent: ...

        assert definition.start_event(Flow, None, {"from": "a"}).get("sender") == "a"

    def test_event_and_fields_together_are_refused(self) -> None:
        """It would not be clear which of them counts."""
        with pytest.raises(WorkflowConfigurationError, match=r"not both; put tone into the Topic"):
            definition.start_event(TopicFlow, TopicStart(topic="x"), {"tone": "dry"})

    def test_a_plain_start_event_is_fields_for_a_declared_one(self) -> None:
        """Fleet's StartEvent holds anything, and the workflow's own says what it takes."""
        made = definition.start_event(TopicFlow, StartEvent(topic="x"), {})
        assert made == TopicStart(topic="x")
        for wrong in (StartEvent(), StartEvent(topic="x", topik="y")):
            with pytest.raises(WorkflowConfigurationError, match="TopicStart has the fields topic"):
                definition.start_event(TopicFlow, wrong, {})

    @pytest.mark.parametrize("wrong", [JokeEvent(joke="x"), StopEvent(), "pirates"], ids=repr)
    def test_another_event_is_refused(self, wrong: Any) -> None:
        """The error names what it starts with and what it was given."""
        with pytest.raises(
            WorkflowConfigurationError,
            match=rf"TopicFlow starts with TopicStart, not with {type(wrong).__name__}",
        ):
            definition.start_event(TopicFlow, wrong, {})


class TestResult:
    def test_a_plain_stop_event_gives_its_result(self) -> None:
        """`await run(...)` is what the last step put into `result`."""
        assert definition.result_of(JokeFlow, StopEvent(result=[1])) == [1]

    def test_a_subclass_comes_whole(self) -> None:
        """A result with fields of its own comes back typed."""
        assert definition.result_of(JokeFlow, Judgement(verdict="good")) == Judgement(
            verdict="good"
        )


class TestEventType:
    def test_a_type_of_the_graph_is_found(self) -> None:
        """What steps take and return is known by name."""
        assert definition.event_type(JokeFlow, "JokeEvent") is JokeEvent

    def test_a_type_that_no_annotation_names_is_found(self) -> None:
        """Progress that a step shows has a type that the graph does not know."""

        class Progress(Event):
            percent: int

        assert definition.event_type(JokeFlow, "Progress") is Progress

    def test_of_two_the_one_of_the_workflows_module_is_found(self) -> None:
        """Another module's event of the same name is another event."""

        class Shown(Event):
            """Ours."""

        foreign = types.new_class("Shown", (Event,), {}, lambda body: body.update(__module__="m"))
        assert definition.event_type(JokeFlow, "Shown") is Shown
        assert foreign is not Shown

    def test_a_type_that_the_workflows_module_imports_wins(self) -> None:
        """A common package has the events; another module has a newer class of the same name."""
        module = types.ModuleType("flow_of_a_test")

        class Moved(Event):
            """Of the common package."""

        imported = Moved

        class Moved(Event):  # type: ignore[no-redef]
            """Of another module."""

        class Flow(JokeFlow):
            """In a module that imports the first."""

        Flow.__module__, module.Moved = module.__name__, imported  # type: ignore[attr-defined]
        sys.modules[module.__name__] = module
        try:
            assert definition.event_type(Flow, "Moved") is imported
        finally:
            del sys.modules[module.__name__]

    def test_an_unknown_type_is_none(self) -> None:
        """Nothing is imported for a name that came from a record."""
        assert definition.event_type(JokeFlow, "NobodyMadeThis") is None


class TestGenericEvents:
    def test_a_generic_event_has_a_name_without_brackets(self) -> None:
        """`Box[int]` is a type of its own, and a topic's name may have no brackets."""

        class Box(Event, Generic[T]):
            content: T

        class Flow(Definition):
            @step
            async def first(self, ev: StartEvent) -> Box[int] | Box[dict[str, int]]: ...
            @step
            async def last(self, ev: Box[int]) -> StopEvent: ...
            @step
            async def other(self, ev: Box[dict[str, int]]) -> None: ...

        graph = definition.graph(Flow)
        assert set(graph.accepting) == {"StartEvent", "Box_int", "Box_dict_str_int"}
        assert definition.event_type(Flow, "Box_int") is Box[int]

    def test_two_that_would_share_a_name_are_refused(self) -> None:
        """A class may be called as `Box[int]` is."""

        class Box(Event, Generic[T]):
            content: T

        class Box_int(Event):  # noqa: N801 - the name that clashes
            pass

        class Flow(Definition):
            @step
            async def first(self, ev: StartEvent) -> Box[int] | Box_int: ...
            @step
            async def last(self, ev: Box[int] | Box_int) -> StopEvent: ...

        with pytest.raises(WorkflowValidationError, match="two event types are called Box_int"):
            definition.graph(Flow)


class TestPublicNames:
    @pytest.mark.parametrize("name", fleet.__all__)
    def test_every_public_name_is_there(self, name: str) -> None:
        """What `fleet` promises can be imported."""
        assert getattr(fleet, name) is not None

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("Workfow", "did you mean Workflow?"),
            ("Steps", "did you mean step?"),
            ("stopEvent", "did you mean StopEvent?"),
            ("HumanResponsEvent", "did you mean HumanResponseEvent?"),
        ],
    )
    def test_a_name_that_is_not_there_says_what_to_do(self, name: str, said: str) -> None:
        """One of a later version and a misspelt one, imported and looked up."""
        with pytest.raises(AttributeError, match=re.escape(f"fleet has no {name}: {said}")):
            getattr(fleet, name)
        with pytest.raises(
            ImportError, match=re.escape(f"cannot import {name} from fleet: {said}")
        ):
            exec(f"from fleet import {name}")  # noqa: S102 - as a user writes it
        assert not hasattr(fleet, name)

    def test_other_names_are_as_in_any_package(self) -> None:
        """Modules are imported, and what is like nothing has the usual error."""
        exec("from fleet import llm, records, joke")  # noqa: S102 - as a user writes it
        with pytest.raises(ImportError, match="cannot import name 'zebra'"):
            exec("from fleet import zebra")  # noqa: S102 - as a user writes it
        with pytest.raises(AttributeError, match=r"fleet has no zebra$"):
            fleet.zebra  # type: ignore[attr-defined]  # noqa: B018 - looking is what is tested

    def test_the_names_are_listed(self) -> None:
        """For whoever looks around in a shell, before anything was used."""
        lines = "import fleet; print(*dir(fleet)); from fleet import *; print(step.__name__)"
        done = subprocess.run(
            [sys.executable, "-c", lines], capture_output=True, text=True, check=True
        )
        listed, used = done.stdout.splitlines()
        assert set(fleet.__all__) <= set(listed.split())
        assert used == "step"
