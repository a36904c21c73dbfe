"""
A workflow class, before anything runs it: its name, its steps, its graph.

Annotations are resolved at the first use of the graph, not when the class is made, so that a
workflow may name event types that are defined after it.
"""

import re
import sys
import types
from collections.abc import Callable, Collection, Container, Hashable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Generic

from pydantic import ValidationError
from typing_extensions import TypeVar

from fleet.config.settings import Settings
from fleet.records.events import (
    Event,
    StartEvent,
    StopEvent,
    fields_of,
    problems,
    subclasses,
    type_name,
)
from fleet.workflow import (
    arguments,
    checks,
    marking,
    members,
    result_type,
    start_fields,
)
from fleet.workflow.checks import Skips
from fleet.workflow.errors import UnclearEnds, WorkflowConfigurationError, WorkflowValidationError
from fleet.workflow.failing import retrying
from fleet.workflow.failing.retrying import RetryPolicy
from fleet.workflow.graph import Graph, all_types, build, no_end
from fleet.workflow.resources import checks as files
from fleet.workflow.resources.providers import Provider

#: What Kafka allows in the name of a topic.
_LEGAL_NAME = re.compile(r"[a-zA-Z0-9_-]+")
#: The step group of a workflow whose class names none.
DEFAULT_GROUP = "main"

#: What Fleet gives every workflow: no step and no attribute may have these names.
_NAMED_IN_BRACKETS = frozenset({"workflow_name", "group_name"})
_TAKEN = _NAMED_IN_BRACKETS | {"run", "run_sync", "topic", "validate", "add_step"}

#: How long a run may take if the workflow has no `timeout=`, in seconds.
DEFAULT_TIMEOUT_SECONDS = 45.0

#: Attributes that a workflow has in LlamaIndex Workflows, and what to do here.
_NO_ATTRIBUTE = {
    "runtime": ": `serve` makes a worker of it, `connect` calls one, `app=` embeds one",
    "serializer": ": events travel as JSON; their fields say how",
}
#: What `run` gives: anything, if the workflow does not say it.
Result_co = TypeVar("Result_co", covariant=True, default=Any)


class Definition(Generic[Result_co]):
    """What a workflow class says about itself; `Workflow` adds ways to run it."""

    #: The event type whose return ends a run and comes back whole; None means StopEvent.
    result_event_type: ClassVar[type[Event] | None] = None
    #: The event type that starts a run; None lets the annotations say it.
    start_event_type: ClassVar[type[Event] | None] = None

    #: Part of topic names, and so permanent: `class Cats(Workflow, workflow="cats")`. Without it,
    #: Fleet makes the name from the class's.
    workflow_name: ClassVar[str]
    #: Name of the step group, as permanent: `class Cats(Workflow, group="main")`.
    group_name: ClassVar[str] = DEFAULT_GROUP
    _fleet_namespace: ClassVar[Mapping[str, Any]] = {}
    #: Steps that are functions outside of the class, by name.
    _fleet_added: ClassVar[dict[str, Callable[..., Any]]] = {}
    _fleet_graph: ClassVar[Graph | None] = None
    #: Names of checks that the class skips.
    _fleet_skips: ClassVar[Skips] = frozenset()
    #: What instances skipped when the graph was found good.
    _fleet_checked: ClassVar[set[Skips]] = set()
    #: How long each run may take, in seconds; None: as long as it takes.
    _fleet_timeout: float | None = DEFAULT_TIMEOUT_SECONDS
    #: Whether what its steps do is printed.
    _fleet_verbose: bool = False
    #: Values in the place of resources, by factory.
    _fleet_given: Mapping[Hashable, Any] = types.MappingProxyType({})
    #: How many runs a worker works on at once; None: as many as come.
    _fleet_concurrent_runs: int | None = None
    #: Of its steps that have none; None: the settings decide.
    _fleet_retry_policy: ClassVar[RetryPolicy | None] = None
    #: Whether it runs or is called: then no step is added.
    _fleet_in_use: ClassVar[bool] = False
    _fleet_result: ClassVar[result_type.ResultType] = result_type.ResultType()

    def __init_subclass__(
        cls,
        *,
        workflow: str | None = None,
        group: str | None = None,
        skip_graph_checks: Collection[str] | None = None,
        retry_policy: RetryPolicy | None = None,
        **options: Any,
    ) -> None:
        """Name the workflow (default: the class's name), its step group and checks to skip.

        *retry_policy* is that of its steps that have none of their own.
        """
        if options and _takes_no_options(cls):
            name = next(iter(options))
            known = ["workflow", "group", "skip_graph_checks", "retry_policy"]
            raise arguments.UnknownArgument(f"class {cls.__name__}", name, known)
        super().__init_subclass__(**options)
        _refuse_taken(cls)
        cls.workflow_name = _legal(workflow or _plain_name(cls.__name__), "workflow", cls)
        cls.group_name = _legal(group or DEFAULT_GROUP, "group", cls)
        around = marking.names_around(depth=1)
        cls._fleet_namespace = marking.kept_names(around, vars(cls).values())
        cls._fleet_added = {}
        cls._fleet_graph, cls._fleet_checked = None, set()
        if skip_graph_checks is not None:
            where = f"class {cls.__name__}(skip_graph_checks=...)"
            cls._fleet_skips = checks.names(skip_graph_checks, where)
        if retry_policy is not None:
            where = f"class {cls.__name__}(retry_policy=...)"
            cls._fleet_retry_policy = retrying.checked(retry_policy, where)
        cls._fleet_in_use = False
        members.check_own(cls)

    @classmethod
    def add_step(cls, function: Callable[..., Any], /) -> None:
        """Add a function outside of the class as a step; `@step(workflow=...)` does so itself.

        Raises WorkflowValidationError if it cannot be one of this workflow, and StepTooLate if the
        workflow runs or is called in this process already.
        """
        name = function.__name__
        if name in _TAKEN:
            raise WorkflowValidationError(cls.__name__, [_taken(cls.__name__, "step", name)])
        members.check_added(cls, function)
        heirs = [cls, *_below(cls)]
        for heir in heirs:
            if heir._fleet_in_use:  # noqa: SLF001 - our own class
                raise StepTooLate(heir.__name__, name)
        cls._fleet_added[name] = function
        for heir in heirs:
            heir._fleet_graph, heir._fleet_checked = None, set()  # noqa: SLF001 - our own class

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _TAKEN:
            raise WorkflowConfigurationError(_taken(type(self).__name__, "attribute", name))
        super().__setattr__(name, value)


class StepTooLate(WorkflowConfigurationError):
    """Raised when a step is added to a workflow that runs or is called in this process already.

    What to do: Import the module with the step before `serve`, `connect` and the first run.
    """

    def __init__(self, workflow: str, step: str) -> None:
        super().__init__(
            f"{workflow} is in use in this process already, so step {step} comes too late; import "
            "the module that has it before serve, connect or the first run"
        )


class NoWorkflow(WorkflowConfigurationError):
    """Raised when `connect` or `serve` gets something other than a workflow class.

    What to do: Pass a class that inherits from `Workflow`.
    """

    def __init__(self, called: str, given: object) -> None:
        if isinstance(given, Definition):
            name = type(given).__name__
            said = f"the class, not an instance of it: write {called}({name})"
        else:
            kind = given.__name__ if isinstance(given, type) else type(given).__name__
            said = f"a workflow class, not {kind}: write e.g. {called}(JokeFlow)"
        super().__init__(f"{called} takes {said}")


# Functions and not methods: a step or an attribute of a user's workflow may have these names.


def graph(workflow: type[Definition]) -> Graph:
    """Return the checked graph; raise WorkflowValidationError with every finding."""
    known = workflow._fleet_graph  # noqa: SLF001 - the file that gives it
    return check(workflow) if known is None else known


def check(workflow: type[Definition], skips: Skips = frozenset()) -> Graph:
    """Return the graph; raise WorkflowValidationError with every finding that is not skipped.

    *skips* are names of checks, beside those that the class skips. Once an instance has skipped a
    check, the class is good for all who ask for its graph.
    """
    known = workflow._fleet_graph  # noqa: SLF001 - the file that gives it
    if known is not None and skips in workflow._fleet_checked:  # noqa: SLF001
        return known
    stated = workflow._fleet_result = _result_type(workflow)  # noqa: SLF001
    result = workflow.result_event_type or stated.event_type
    steps, start = members.steps(workflow), workflow.start_event_type
    built = build(workflow.__name__, steps, start, result)
    found = checks.findings(built, skips | workflow._fleet_skips)  # noqa: SLF001
    if found := found or list(stated.findings(built)):
        ends = no_end(built.steps, built.results)
        raise (UnclearEnds if ends else WorkflowValidationError)(workflow.__name__, found)
    typed = stated if stated.values and stated.stated is not Any else None
    workflow._fleet_checked.add(skips)  # noqa: SLF001
    # One object, also after another check: joins and topics were made for it.
    workflow._fleet_graph = known or replace(built, result=typed)  # noqa: SLF001
    return workflow._fleet_graph  # noqa: SLF001


def needed(workflow: type[Definition]) -> list[Provider]:
    """Return who makes the resources of its steps."""
    return [provider for step in graph(workflow).steps for _, provider in step.resources]


def check_files(workflow: type[Definition], given: Container[Hashable] = ()) -> None:
    """Raise WorkflowValidationError with what is wrong in the files of its resources.

    Only where the workflow runs: a caller need not have the files. Those that an instance is
    *given* are not read.
    """
    needed = [(step.shown, step.resources) for step in graph(workflow).steps]
    found = list(files.findings(needed, given))
    if found:
        raise WorkflowValidationError(workflow.__name__, found)


def graph_in_use(workflow: type[Definition]) -> Graph:
    """Return the checked graph for who runs it or calls it: from now on, no step is added."""
    checked = graph(workflow)
    workflow._fleet_in_use = True  # noqa: SLF001 - the file that gives it
    return checked


def concurrent_runs(workflow: Definition) -> int | None:
    """Return how many of its runs a worker works on at once; None: as many as come."""
    return workflow._fleet_concurrent_runs  # noqa: SLF001 - the file that gives it


def retry_policy(workflow: Definition, settings: Settings) -> RetryPolicy | None:
    """Return the policy of its steps that have none: that of the class, or of the settings."""
    own = workflow._fleet_retry_policy  # noqa: SLF001 - the file that gives it
    by_name = settings.retries
    stated = by_name.get(workflow.workflow_name) or by_name.get("*")
    if own is not None or stated is None:
        return own
    return retrying.ExponentialBackoffRetryPolicy(
        stated.attempts, stated.wait_seconds, max_delay=stated.max_wait_seconds
    )


def time_limit(workflow: Definition) -> float | None:
    """Return how long each of its runs may take, in seconds; None: as long as it takes."""
    return workflow._fleet_timeout  # noqa: SLF001 - the file that gives it


def given_resources(workflow: Definition) -> Mapping[Hashable, Any]:
    """Return the values that it has in the place of resources, by factory."""
    return workflow._fleet_given  # noqa: SLF001 - the file that gives it


def is_verbose(workflow: Definition) -> bool:
    """Tell whether what its steps do is printed."""
    return workflow._fleet_verbose  # noqa: SLF001 - the file that gives it


def attribute(workflow: type[Definition], name: str) -> Any:
    """Return what a workflow has under a name of LlamaIndex Workflows; raise AttributeError.

    These are no attributes: a step of a user's workflow may have such a name.
    """
    if name == "start_event_class":
        return graph(workflow).start
    if name == "stop_event_class":
        results = graph(workflow).results
        return results[0] if len(results) == 1 else StopEvent
    if name == "events":
        return all_types(graph(workflow).steps)
    way = _NO_ATTRIBUTE.get(name, "")
    raise AttributeError(f"{workflow.__name__} has no attribute {name!r}{way}")


def event_type(workflow: type[Definition], name: str) -> type[Event] | None:
    """Return the event type called *name*; None if this process does not know it.

    The graph's types come first. Events in a stream may be of other imported types: among several,
    one that the workflow's module has or imports wins, then the newest class.
    """
    known = graph(workflow).types.get(name)
    if known is not None:
        return known
    every: list[type[Event]] = [Event, *subclasses(Event)]
    found = [kind for kind in every if type_name(kind) == name]
    found = [kind for kind in found if not issubclass(kind, result_type.StatedStopEvent)]
    own = vars(sys.modules.get(workflow.__module__, types))
    near = [kind for kind in found if own.get(kind.__name__) is kind]
    near = near or [kind for kind in found if kind.__module__ == workflow.__module__]
    return next(reversed(near or found), None)


def start_event(
    workflow: type[Definition], event: Event | None, fields: dict[str, Any], **of_the_run: object
) -> Event:
    """Return the start event; raise WorkflowConfigurationError if *fields* do not make it.

    Give either *event* or *fields*. *of_the_run* holds the run's own arguments, by name.
    """
    start = graph(workflow).start
    event, fields = start_fields.sorted_out(workflow.__name__, start, event, fields)
    start_fields.check_of_the_run(workflow.__name__, start, event, **of_the_run)
    if type(event) is StartEvent and start is not StartEvent and not fields:
        # Fleet's own StartEvent takes any fields; the workflow's says which.
        return _made(start, fields_of(event), workflow.__name__)
    if event is None:
        return _made(start, fields, workflow.__name__)
    if fields:
        raise WorkflowConfigurationError(
            f"{workflow.__name__}.run takes a start event or its fields, not both; "
            f"put {', '.join(fields)} into the {type_name(start)}"
        )
    if type(event) is not start:
        raise start_fields.NoStartEvent(workflow.__name__, start, event)
    return event


def result_of(workflow: type[Definition], event: Event) -> Any:
    """Return what a caller gets for the result event; raise UnfitResult."""
    graph(workflow)
    return workflow._fleet_result.of(event)  # noqa: SLF001


def _refuse_taken(cls: type[Definition]) -> None:
    """Refuse a step or an attribute that would hide what Fleet gives every workflow."""
    findings = []
    annotated = dict.fromkeys(vars(cls).get("__annotations__", ()))
    for name, member in {**annotated, **vars(cls)}.items():
        if name in _TAKEN and marking.is_step(member):
            findings.append(_taken(cls.__name__, "step", name))
        # A plain method of the name is how a subclass overrides, as anywhere in Python.
        elif name in _TAKEN and not isinstance(member, types.FunctionType):
            findings.append(_taken(cls.__name__, "attribute", name))
    if findings:
        raise WorkflowValidationError(cls.__name__, findings)


def _taken(workflow: str, what: str, name: str) -> str:
    if name in _NAMED_IN_BRACKETS:
        keyword = name.removesuffix("_name")
        return (
            f"{what} {name} is set by Fleet; write `class {workflow}(Workflow, "
            f"{keyword}=...)`, or rename it"
        )
    return (
        f"{what} {name} would hide `{workflow}.{name}`, which Fleet gives every workflow; rename it"
    )


def _result_type(cls: type[Definition]) -> result_type.ResultType:
    """Return what *cls* says in brackets: `Workflow[...]`, its own or that of a base."""
    try:
        stated = result_type.stated_by(cls, Definition)
    except (NameError, AttributeError, SyntaxError, TypeError) as unknown:
        finding = f"the type of its result cannot be resolved ({unknown}); define or import it"
        raise WorkflowValidationError(cls.__name__, [finding]) from None
    named = cls.result_event_type
    if named is not None and stated.says_other_than(named):
        finding = (
            f"its result is {stated}, and result_event_type is {type_name(named)}; one says it "
            "all: remove the other"
        )
        raise WorkflowValidationError(cls.__name__, [finding])
    return stated


def _below(cls: type[Definition]) -> Iterator[type[Definition]]:
    for heir in cls.__subclasses__():
        yield heir
        yield from _below(heir)


def _made(start: type[Event], fields: dict[str, Any], workflow: str) -> Event:
    unknown = [] if _takes_any(start) else [name for name in fields if not _has(start, name)]
    if unknown:
        raise WorkflowConfigurationError(
            f"{workflow} takes no {', '.join(unknown)}; {type_name(start)} has the fields "
            f"{', '.join(start.model_fields) or '(none)'}"
        )
    try:
        return start(**fields)
    except ValidationError as failure:
        raise WorkflowConfigurationError(
            f"{workflow} cannot start: {problems(failure)}; {type_name(start)} has the fields "
            f"{', '.join(start.model_fields)}{start_fields.hint(start, fields)}"
        ) from None


def _takes_no_options(cls: type[Definition]) -> bool:
    """Tell whether no base of *cls* but ours takes class keywords."""
    after = cls.__mro__[cls.__mro__.index(Definition) + 1 :]
    return all("__init_subclass__" not in vars(base) or base in (Generic, object) for base in after)


def _takes_any(start: type[Event]) -> bool:
    """Tell whether a start event takes any fields: not if it is a StartEvent with its own."""
    declares = issubclass(start, StartEvent) and start.model_fields
    return start.model_config.get("extra") == "allow" and not declares


def _has(start: type[Event], name: str) -> bool:
    aliases = ((field.alias, field.validation_alias) for field in start.model_fields.values())
    return name in start.model_fields or any(name in several for several in aliases)


def _plain_name(class_name: str) -> str:
    stem = re.sub(r"(Workflow|Flow)$", "", class_name) or class_name
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", stem).lower()


def _legal(name: str, what: str, cls: type) -> str:
    if not _LEGAL_NAME.fullmatch(name):
        raise WorkflowConfigurationError(
            f"{name!r} cannot be the {what} of {cls.__name__}: it is part of topic names, so use "
            "letters, digits, '_' and '-'"
        )
    return name
