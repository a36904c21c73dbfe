"""
What the annotations of one step say: its slots, its context, its returns.

`A | B` is two types of one slot, `a: A, b: B` two slots that wait for each other, `list[E]` the
members of a fan-out. `Annotated[T, Resource(...)]` is no slot.
"""

import collections.abc
import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet.records.events import Event
from fleet.workflow import marking
from fleet.workflow.collect import Collect
from fleet.workflow.context import Context
from fleet.workflow.context_state import state_models
from fleet.workflow.errors import Unresolved, WorkflowValidationError
from fleet.workflow.failing.step_failed import StepFailedEvent
from fleet.workflow.resources import providers
from fleet.workflow.resources.declared import declared_in
from fleet.workflow.resources.providers import Place, Provider
from fleet.workflow.steps import Slot, Step, StepFunction

_GENERATORS = (
    collections.abc.AsyncGenerator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncIterator,
    collections.abc.Generator,
    collections.abc.Iterator,
)


@dataclass(frozen=True, slots=True)
class _Taken:
    """One event parameter, and how it collects if it is a list."""

    slot: Slot
    collect: Collect | None


def read(
    function: object, name: str, namespace: Mapping[str, Any], *, is_free: bool = False
) -> Step:
    """Read a marked function's annotations; *namespace* resolves names that are strings.

    *is_free* says that it is outside of a class and has no `self`. Raises Unresolved, and
    another WorkflowValidationError when they do not describe a step.
    """
    marked = typing.cast("StepFunction", function)
    hints = _hints(marked, name, namespace)
    resources = _resources(hints, name, namespace)
    skipped = 0 if is_free else 1
    context, events = _parameters(marked, name, hints, skipped, {given for given, _ in resources})
    taken = [_taken(parameter, hints[parameter], name) for parameter in events]
    _check_join(taken, name)
    options = marking.options_of(marked)
    if options.catches is not None:
        _check_handler(taken, name)
    where = f"the return type of step {name}"
    returned = _members(_stated_return(hints, name))
    lists = [member for member in returned if typing.get_origin(member) is list]
    log_name = next(iter(options.formerly), name)
    return Step(
        name=log_name,
        renamed=name if log_name != name else "",
        function=marked,
        options=options,
        slots=tuple(one.slot for one in taken),
        context_parameter=context,
        state_model=state_models.named(hints[context], name) if context else None,
        bare=_events([member for member in returned if member not in lists], where),
        fans_out=_events(_listed(lists), where),
        may_end=types.NoneType in returned,
        collect=taken[0].collect,
        is_free=is_free,
        resources=resources,
    )


def _hints(function: StepFunction, name: str, namespace: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, localns=dict(namespace), include_extras=True)
    except (NameError, AttributeError, SyntaxError, TypeError) as unknown:
        finding = (
            f"an annotation of step {name} cannot be resolved ({unknown}); define or import it, "
            "not only for type checkers, before you use the workflow"
        )
        raise Unresolved(name, [finding]) from None


def _resources(
    hints: dict[str, Any], step: str, names: Mapping[str, Any]
) -> tuple[tuple[str, Provider], ...]:
    """Return who makes the resources that a step takes, by parameter."""
    found = []
    for parameter, hint in hints.items():
        if parameter == "return" or typing.get_origin(hint) is not typing.Annotated:
            continue
        inner, *marks = typing.get_args(hint)
        declared = declared_in(tuple(marks))
        if declared is not None:
            place = Place(f"parameter {parameter} of step {step}", names)
            found.append((parameter, providers.read(declared, inner, place)))
    return tuple(found)


def _parameters(
    function: StepFunction, name: str, hints: dict[str, Any], skipped: int, resources: set[str]
) -> tuple[str | None, list[str]]:
    """Return the names of the context's parameter, or None, and of those for events."""
    parameters = list(inspect.signature(function).parameters.values())[skipped:]
    contexts = [p.name for p in parameters if _is_context(hints.get(p.name))]
    others = [p for p in parameters if p.name not in {*contexts, *resources}]
    events = [p for p in others if not _is_left_out(p, hints.get(p.name))]
    unannotated = [p.name for p in events if p.name not in hints]
    if unannotated or not events:
        missing = ", ".join(unannotated) or "its event"
        example = "ctx: Context" if unannotated == ["ctx"] else "ev: StartEvent"
        finding = f"step {name} does not say the type of {missing}; write e.g. `{example}`"
        raise WorkflowValidationError(name, [finding])
    if any(p.kind is inspect.Parameter.POSITIONAL_ONLY for p in parameters):
        finding = f"step {name} takes its event by position only; remove the `/` from its signature"
        raise WorkflowValidationError(name, [finding])
    return (contexts[0] if contexts else None), [p.name for p in events]


def _is_left_out(parameter: inspect.Parameter, hint: Any) -> bool:
    """Tell whether a step can be called without it, and it is for no event."""
    if parameter.kind in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        return True
    is_plain = typing.get_origin(hint) is not typing.Annotated and not _is_of_events(hint)
    return is_plain and parameter.default is not inspect.Parameter.empty


def _is_context(hint: object) -> bool:
    return hint is Context or typing.get_origin(hint) is Context


def _taken(parameter: str, hint: Any, step: str) -> _Taken:
    where = f"parameter {parameter} of step {step}"
    marker, hint = _unwrapped(hint, where)
    members = [member for member in _members(hint) if member is not types.NoneType]
    if not members:
        raise WorkflowValidationError(step, [f"{where} is None; take an event"])
    lists = [member for member in members if typing.get_origin(member) is list]
    if lists and lists != members:
        finding = f"{where} is a list or a single event; take one of them, in a step of its own"
        raise WorkflowValidationError(step, [finding])
    if marker is not None and not lists:
        finding = f"{where} has a Collect, which is for lists; write `Annotated[list[E], ...]`"
        raise WorkflowValidationError(step, [finding])
    types_ = _events(_listed(lists) if lists else members, where)
    return _Taken(Slot(parameter, types_), (marker or Collect()) if lists else None)


def _unwrapped(hint: Any, where: str) -> tuple[Collect | None, Any]:
    """Return the Collect of `Annotated[...]`, or None, and what is annotated."""
    if typing.get_origin(hint) is not typing.Annotated:
        return None, hint
    inner, *marks = typing.get_args(hint)
    markers = [mark for mark in marks if isinstance(mark, Collect)]
    if not markers and not _is_of_events(inner):
        shown = getattr(inner, "__name__", inner)
        finding = (
            f"{where} is Annotated[{shown}, ...], which is no event and no resource; write "
            f"`Annotated[{shown}, Resource(factory)]` with the function that makes it"
        )
        raise WorkflowValidationError(where, [finding])
    return (markers[0] if markers else None), inner


def _check_join(taken: list[_Taken], name: str) -> None:
    if len(taken) == 1:
        return
    for one in taken:
        where = f"parameter {one.slot.parameter} of step {name}"
        if one.collect is not None:
            finding = (
                f"{where} is a list beside another event; take the list alone, or single events"
            )
            raise WorkflowValidationError(name, [finding])
        if len(one.slot.types) > 1:
            finding = (
                f"{where} has several types, and a step that joins events takes one for each "
                "parameter; take one, or give the types a step each that returns the same event"
            )
            raise WorkflowValidationError(name, [finding])


def _check_handler(taken: list[_Taken], name: str) -> None:
    """Raise if a step with `@catch_error` takes something other than one StepFailedEvent."""
    if len(taken) > 1 or taken[0].collect or taken[0].slot.types != (StepFailedEvent,):
        finding = (
            f"step {name} has @catch_error, so it must take a StepFailedEvent and no other event; "
            "write `ev: StepFailedEvent`"
        )
        raise WorkflowValidationError(name, [finding])


def _stated_return(hints: dict[str, Any], name: str) -> Any:
    if "return" not in hints:
        finding = f"step {name} does not say what it returns; write e.g. `-> StopEvent`"
        raise WorkflowValidationError(name, [finding])
    stated = hints["return"]
    if typing.get_origin(stated) in _GENERATORS:
        finding = (
            f"step {name} returns one event or a list, not a generator; write e.g. `-> StopEvent` "
            "or `-> list[Chunk]`"
        )
        raise WorkflowValidationError(name, [finding])
    return typing.get_args(stated)[0] if typing.get_origin(stated) is typing.Annotated else stated


def _members(hint: Any) -> list[Any]:
    """Return the members of a union, or the one type."""
    # Of `type Either = A | B`, which Python has since 3.12.
    hint = hint.__value__ if type(hint).__name__ == "TypeAliasType" else hint
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return [hint]
    return [inner for member in typing.get_args(hint) for inner in _members(member)]


def _listed(lists: list[Any]) -> list[Any]:
    """Return what lists hold."""
    return [inner for held in lists for inner in _members((typing.get_args(held) or (held,))[0])]


def _is_of_events(hint: Any) -> bool:
    held = [inner for member in _members(hint) for inner in typing.get_args(member) or [member]]
    return any(isinstance(kind, type) and issubclass(kind, Event) for kind in held)


def _events(members: list[Any], where: str) -> tuple[type[Event], ...]:
    found = [member for member in members if member is not types.NoneType]
    return tuple(_event_type(member, where) for member in dict.fromkeys(found))


def _event_type(hint: Any, where: str) -> type[Event]:
    if not (isinstance(hint, type) and issubclass(hint, Event)):
        shown = getattr(hint, "__name__", hint)
        finding = f"{where} is {shown}, which is no Event; subclass Event"
        raise WorkflowValidationError(where, [finding])
    return hint
