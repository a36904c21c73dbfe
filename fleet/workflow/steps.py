"""
Steps: async methods whose annotations say which events they take and which they give.

`@step` checks the function alone; the graph checks how steps fit together.
"""

import collections.abc
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, TypeVar, overload

from fleet.records.events import Event, type_name
from fleet.workflow.context import Context
from fleet.workflow.errors import (
    NotAvailableYet,
    OtherReturned,
    UnexpectedResult,
    WorkflowConfigurationError,
    WorkflowValidationError,
)

StepFunction = Callable[Concatenate[Any, ...], Coroutine[Any, Any, Any]]
F = TypeVar("F", bound=StepFunction)

#: Attempts of one step that one run may have in flight.
DEFAULT_NUM_WORKERS = 4

_MARK = "__fleet_step__"
_GENERATORS = (
    collections.abc.AsyncGenerator,
    collections.abc.AsyncIterator,
    collections.abc.Generator,
    collections.abc.Iterator,
)

_LATER = {
    "retry_policy": "let the step itself try again, or leave it out: a failed step ends its run",
    "skip_graph_checks": "fix what the graph check reports",
    "accept_event_subclasses": "annotate the union of the types: `ev: Cat | Dog`",
    "workflow": "write it as a method of the class",
}


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of `@step(...)`."""

    num_workers: int = DEFAULT_NUM_WORKERS
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a workflow, as its annotations describe it."""

    name: str
    function: StepFunction
    options: Options
    event_parameter: str
    #: None if the step does not ask for a context.
    context_parameter: str | None
    accepts: tuple[type[Event], ...]
    #: Event types it may return; None in an annotation is not listed.
    returns: tuple[type[Event], ...]
    #: Whether the annotation has None: the branch may end with this step.
    may_end: bool = True

    def check_returned(self, returned: object, *, has_sent: bool) -> None:
        """Raise if an attempt *returned* something other than the annotation says.

        None is fine if the attempt sent events instead (*has_sent*).
        """
        stated = [type_name(kind) for kind in self.returns]
        if returned is None:
            if not self.may_end and not has_sent:
                raise OtherReturned(self.name, "None", stated)
        elif not isinstance(returned, Event):
            raise UnexpectedResult(self.name, returned)
        elif not isinstance(returned, self.returns):
            raise OtherReturned(self.name, type_name(returned), stated)

    def bind(self, workflow: object, context: Context, event: Event) -> Coroutine[Any, Any, Any]:
        """Return the coroutine of one attempt."""
        arguments: dict[str, Any] = {self.event_parameter: event}
        if self.context_parameter is not None:
            arguments[self.context_parameter] = context
        return self.function(workflow, **arguments)


@overload
def step(function: F, /) -> F: ...
@overload
def step(
    *, num_workers: int = ..., timeout: float | None = ..., **later: Any
) -> Callable[[F], F]: ...
def step(
    function: StepFunction | None = None,
    /,
    *,
    num_workers: int = DEFAULT_NUM_WORKERS,
    timeout: float | None = None,
    **later: Any,
) -> Any:
    """Make an async method a step: `@step` or `@step(num_workers=8, timeout=30)`.

    *num_workers* bounds how many attempts of this step one run has in flight. *timeout*, in
    seconds, bounds each attempt. Raises WorkflowConfigurationError for anything else.
    """
    _refuse(later)
    options = Options(_checked_num_workers(num_workers), _checked_timeout(timeout))
    if function is None:
        return functools.partial(_mark, options=options)
    return _mark(function, options)


def read(function: object, name: str, namespace: Mapping[str, Any]) -> Step:
    """Read a marked function's annotations; *namespace* resolves names that are strings.

    Raises WorkflowValidationError when they do not describe a step.
    """
    marked = typing.cast("StepFunction", function)
    hints = _hints(marked, name, namespace)
    context_name, event_name = _parameters(marked, name, hints)
    return Step(
        name=name,
        function=marked,
        options=getattr(marked, _MARK),
        event_parameter=event_name,
        context_parameter=context_name,
        accepts=_events(hints[event_name], f"parameter {event_name} of step {name}"),
        returns=_returned(hints, name),
        may_end=_may_end(hints["return"]),
    )


def is_step(member: object) -> bool:
    """Tell whether `@step` marked this member of a class."""
    return hasattr(member, _MARK)


def enclosing_names(depth: int) -> dict[str, Any]:
    """Return the local types around a class body, so that local event classes resolve."""
    body = sys._getframe(depth + 1)  # noqa: SLF001 - no public way
    frame: types.FrameType | None = body
    names: dict[str, Any] = {}
    while frame is not None and frame.f_code.co_name != "<module>":
        # Of its own module only: the same name in another module means something else.
        if frame.f_globals is body.f_globals:
            found = {name: value for name, value in frame.f_locals.items() if _is_type(value)}
            names = {**found, **names}
        frame = frame.f_back
    return names


def _is_type(value: object) -> bool:
    """Tell whether an annotation may name it; other values may be large, and are not kept."""
    plain = isinstance(value, type | types.UnionType | types.ModuleType)
    return plain or type(value).__module__ == "typing"


def _mark(function: StepFunction, options: Options) -> StepFunction:
    if not inspect.iscoroutinefunction(function):
        name = getattr(function, "__name__", repr(function))
        owner = getattr(function, "__qualname__", name).split(".")[-2:][0]
        raise WorkflowValidationError(owner, [f"step {name} {_no_step(function)}"])
    setattr(function, _MARK, options)
    return function


def _no_step(function: object) -> str:
    """Say why *function* cannot be a step, and what to write."""
    if isinstance(function, staticmethod | classmethod):
        return f"is a {type(function).__name__}; write it as a method: `async def`, with `self`"
    if inspect.isasyncgenfunction(function):
        return (
            "has a `yield`; a step returns one event: send several with ctx.send_event(event), and "
            "show some with ctx.write_event_to_stream(event)"
        )
    if isinstance(function, type):
        return "is a class; mark an `async def` method with @step"
    inner = inspect.unwrap(function) if callable(function) else function
    if inner is not function and inspect.iscoroutinefunction(inner):
        return (
            "is wrapped by a decorator that makes a plain function of it; put @step first, below "
            "that decorator, or make the decorator's wrapper `async def`"
        )
    return "must be written with `async def`"


def _refuse(later: dict[str, Any]) -> None:
    for name in later:
        if name in _LATER:
            raise NotAvailableYet(f"@step({name}=...)", _LATER[name])
        raise WorkflowConfigurationError(
            f"@step takes no argument {name!r}; it takes num_workers and timeout"
        )


def _checked_num_workers(num_workers: object) -> int:
    if not isinstance(num_workers, int) or isinstance(num_workers, bool) or num_workers < 1:
        raise WorkflowConfigurationError(
            f"num_workers must be an integer greater than 0, not {num_workers!r}"
        )
    return num_workers


def _checked_timeout(timeout: object) -> float | None:
    if timeout is None:
        return None
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not timeout > 0:
        raise WorkflowConfigurationError(
            f"a step's timeout must be a number of seconds greater than 0, not {timeout!r}"
        )
    return float(timeout)


def _hints(function: StepFunction, name: str, namespace: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, localns=dict(namespace), include_extras=True)
    except (NameError, AttributeError, SyntaxError, TypeError) as unknown:
        finding = (
            f"an annotation of step {name} cannot be resolved ({unknown}); define or import it, "
            "not only for type checkers, before you use the workflow"
        )
        raise WorkflowValidationError(name, [finding]) from None


def _parameters(function: StepFunction, name: str, hints: dict[str, Any]) -> tuple[str | None, str]:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    contexts = [p.name for p in parameters if _is_context(hints.get(p.name))]
    events = [p for p in parameters if p.name not in contexts]
    unannotated = [p.name for p in events if p.name not in hints]
    if unannotated or not events:
        missing = ", ".join(unannotated) or "its event"
        example = "ctx: Context" if unannotated == ["ctx"] else "ev: StartEvent"
        finding = f"step {name} does not say the type of {missing}; write e.g. `{example}`"
        raise WorkflowValidationError(name, [finding])
    if any(p.kind is inspect.Parameter.POSITIONAL_ONLY for p in parameters):
        finding = f"step {name} takes its event by position only; remove the `/` from its signature"
        raise WorkflowValidationError(name, [finding])
    if len(events) > 1:
        for parameter in events:
            _events(hints[parameter.name], f"parameter {parameter.name} of step {name}")
        raise NotAvailableYet(f"joining several event parameters (step {name})", "take one event")
    return (contexts[0] if contexts else None), events[0].name


def _is_context(hint: object) -> bool:
    if typing.get_origin(hint) is Context:
        raise NotAvailableYet("a typed Context[Model]", "annotate `ctx: Context`")
    return hint is Context


def _returned(hints: dict[str, Any], name: str) -> tuple[type[Event], ...]:
    if "return" not in hints:
        finding = f"step {name} does not say what it returns; write e.g. `-> StopEvent`"
        raise WorkflowValidationError(name, [finding])
    if typing.get_origin(hints["return"]) in _GENERATORS:
        finding = f"step {name} returns one event, not a generator; write e.g. `-> StopEvent`"
        raise WorkflowValidationError(name, [finding])
    return _events(hints["return"], f"the return type of step {name}", none_allowed=True)


def _may_end(hint: object) -> bool:
    members = typing.get_args(hint) if _is_union(hint) else (hint,)
    return types.NoneType in members


def _events(hint: object, where: str, *, none_allowed: bool = False) -> tuple[type[Event], ...]:
    members = typing.get_args(hint) if _is_union(hint) else (hint,)
    found = [member for member in members if member is not types.NoneType]
    if len(found) < len(members) and not none_allowed:
        raise WorkflowValidationError(where, [f"{where} may not be None; take an event"])
    return tuple(_event_type(member, where) for member in found)


def _is_union(hint: object) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _event_type(hint: object, where: str) -> type[Event]:
    if typing.get_origin(hint) is list:
        raise NotAvailableYet(f"list[...] as {where}", "send single events with ctx.send_event")
    if typing.get_origin(hint) is typing.Annotated:
        raise NotAvailableYet(f"Annotated[...] as {where}", "make the resource an attribute")
    if not (isinstance(hint, type) and issubclass(hint, Event)):
        shown = getattr(hint, "__name__", hint)
        finding = f"{where} is {shown}, which is no Event; subclass Event"
        raise WorkflowValidationError(where, [finding])
    return hint
