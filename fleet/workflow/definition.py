"""
A workflow class, before anything runs it: its name, its steps, its graph.

Annotations are resolved at the first use of the graph, not when the class is made, so that a
workflow may name event types that are defined after it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Generic

from pydantic import ValidationError
from typing_extensions import TypeVar

from fleet.records.events import Event, StartEvent, StopEvent, problems
from fleet.workflow import graph, result_type, steps
from fleet.workflow.errors import WorkflowConfigurationError, WorkflowValidationError

#: What Kafka allows in the name of a topic.
_LEGAL_NAME = re.compile(r"[a-zA-Z0-9_-]+")
#: A workflow's group where the class names none.
DEFAULT_GROUP = "main"

#: What `run` gives. Of a workflow that does not say it, anything.
Result_co = TypeVar("Result_co", covariant=True, default=Any)


class Definition(Generic[Result_co]):
    """What a workflow class says about itself; `Workflow` adds ways to run it."""

    #: The event type whose return ends a run and comes back whole; StopEvent where None.
    result_event_type: ClassVar[type[Event] | None] = None
    #: The event type that starts a run; found from the annotations where None.
    start_event_type: ClassVar[type[Event] | None] = None

    #: Part of topic names and so permanent: `class Cats(Workflow, workflow="cats")`, else made of
    #: the class's name.
    workflow_name: ClassVar[str]
    #: Of the step group, as permanent: `class Cats(Workflow, group="main")`.
    group_name: ClassVar[str] = DEFAULT_GROUP
    _namespace: ClassVar[Mapping[str, Any]] = {}
    _graph: ClassVar[graph.Graph | None] = None
    _result: ClassVar[result_type.ResultType] = result_type.ResultType()

    def __init_subclass__(
        cls, *, workflow: str | None = None, group: str | None = None, **options: Any
    ) -> None:
        """Name the workflow (default: the class's name) and its step group."""
        super().__init_subclass__(**options)
        cls.workflow_name = _legal(workflow or _plain_name(cls.__name__), "workflow", cls)
        cls.group_name = _legal(group or DEFAULT_GROUP, "group", cls)
        cls._namespace = steps.enclosing_names(depth=1)
        cls._graph = None

    @classmethod
    def graph(cls) -> graph.Graph:
        """Return the checked graph; raise WorkflowValidationError with every finding."""
        if cls._graph is None:
            cls._result = _result_type(cls)
            result = cls.result_event_type or cls._result.event_type
            built = graph.build(cls.__name__, _steps(cls), cls.start_event_type, result)
            if findings := list(cls._result.findings(built)):
                raise WorkflowValidationError(cls.__name__, findings)
            cls._graph = built
        return cls._graph

    @classmethod
    def event_type(cls, name: str) -> type[Event] | None:
        """Return the event type called *name*, or None where this process does not know it.

        One of the graph's, else one that was imported, as steps write to the stream: of several,
        one of the workflow's own module, the one that was made last.
        """
        known = cls.graph().types.get(name)
        if known is not None:
            return known
        found = [each for each in _subclasses(Event) if each.type_name() == name]
        near = [each for each in found if each.__module__ == cls.__module__]
        return next(reversed(near or found), None)

    @classmethod
    def make_start_event(cls, event: Event | None, fields: dict[str, Any]) -> Event:
        """Return the start event; raise WorkflowConfigurationError where *fields* do not make it.

        Give either *event* or *fields*.
        """
        start = cls.graph().start
        if type(event) is StartEvent and start is not StartEvent and not fields:
            # Fleet's own one takes any fields; the workflow's says which.
            return _made(start, event.model_dump(), cls.__name__)
        if event is None:
            return _made(start, fields, cls.__name__)
        if fields:
            raise WorkflowConfigurationError(
                f"{cls.__name__}.run takes a start event or its fields, not both; "
                f"put {', '.join(fields)} into the {start.type_name()}"
            )
        if type(event) is not start:
            raise WorkflowConfigurationError(
                f"{cls.__name__} starts with {start.type_name()}, not with "
                f"{type(event).__name__}; see the first step's annotation"
            )
        return event

    @classmethod
    def result_of(cls, event: Event) -> Any:
        """Return what a caller gets for the result event; raise UnfitResult."""
        if type(event) is not StopEvent:
            return event
        cls.graph()
        return cls._result.read(event.result)


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
            f"its result is {stated}, and result_event_type is {named.type_name()}; one says it "
            "all: remove the other"
        )
        raise WorkflowValidationError(cls.__name__, [finding])
    return stated


def _steps(cls: type[Definition]) -> list[steps.Step]:
    """Return the steps of *cls*; raise WorkflowValidationError with what is wrong in any."""
    found, findings = [], []
    for name, (member, namespace) in _members(cls).items():
        if not steps.is_step(member):
            continue
        try:
            found.append(steps.read(member, name, namespace))
        except WorkflowValidationError as wrong:
            findings += wrong.findings
    if findings:
        raise WorkflowValidationError(cls.__name__, findings)
    return found


def _subclasses(kind: type[Event]) -> Iterator[type[Event]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def _members(cls: type[Definition]) -> dict[str, tuple[Any, Mapping[str, Any]]]:
    """Return the members of *cls*, each with the local names around the class it was written in.

    In the order they were written, bases first.
    """
    members: dict[str, tuple[Any, Mapping[str, Any]]] = {}
    for klass in reversed(cls.__mro__):
        namespace = vars(klass).get("_namespace", cls._namespace)
        members |= {name: (member, namespace) for name, member in vars(klass).items()}
    return members


def _made(start: type[Event], fields: dict[str, Any], workflow: str) -> Event:
    unknown = [] if _takes_any(start) else [name for name in fields if not _has(start, name)]
    if unknown:
        raise WorkflowConfigurationError(
            f"{workflow} takes no {', '.join(unknown)}; {start.type_name()} has the fields "
            f"{', '.join(start.model_fields) or '(none)'}"
        )
    try:
        return start(**fields)
    except ValidationError as failure:
        raise WorkflowConfigurationError(
            f"{workflow} cannot start: {problems(failure)}; {start.type_name()} has the fields "
            f"{', '.join(start.model_fields)}"
        ) from None


def _takes_any(start: type[Event]) -> bool:
    """Tell whether a start event's fields are free: not where a StartEvent declares its own."""
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
