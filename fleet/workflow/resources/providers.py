"""
Who makes a resource, and what that needs in its turn.

Read from annotations alone: no factory is called, so a cycle or a parameter that nothing gives is
found before anything runs.
"""

import functools
import inspect
import typing
from collections.abc import Callable, Container, Hashable, Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from pydantic import BaseModel

from fleet.workflow.errors import Unresolved, WorkflowValidationError
from fleet.workflow.resources import config_files
from fleet.workflow.resources.declared import Resource, ResourceConfig, declared_in


@dataclass(frozen=True, eq=False, slots=True)
class Provider:
    """Makes one resource."""

    #: As people know it: the name of its factory, or the file.
    name: str
    #: What it stands for: a factory, or the model of a file.
    source: Hashable
    #: Who asks for the same key gets the same value.
    key: Hashable
    #: Takes a value for each of `needs`.
    make: Callable[..., Any]
    #: Whether a worker keeps the value; else each attempt has its own.
    is_cached: bool = True
    #: What its factory takes, by parameter.
    needs: tuple[tuple[str, "Provider"], ...] = ()
    #: Not None if it reads a file.
    config: config_files.Source | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A parameter that asks for a resource, and the factories on the way to it."""

    #: The step's parameter, as a sentence names it.
    where: str
    #: Names in annotations that are text.
    names: Mapping[str, Any]
    chain: tuple[Resource, ...] = ()

    def after(self, declared: Resource) -> "Place":
        """Return the place of a parameter of the factory of *declared*."""
        return Place(self.where, self.names, (*self.chain, declared))

    def refusal(self, finding: str) -> WorkflowValidationError:
        """Return the error for what is wrong there."""
        return WorkflowValidationError(self.where, [f"{self.where}: {finding}"])


def read(declared: Resource | ResourceConfig, annotated: Any, place: Place) -> Provider:
    """Return who makes what is *declared* for a parameter that is *annotated* so.

    Raises Unresolved, and WorkflowValidationError if nothing can make it.
    """
    if isinstance(declared, ResourceConfig):
        return _of_file(declared, annotated, place)
    chain = [*place.chain, declared]
    if any(declared.factory == above.factory for above in place.chain):
        way = " -> ".join(name_of(one.factory) for one in chain)
        raise place.refusal(f"its resources need each other: {way}; let one of them do without")
    factory = declared.factory
    needs = tuple(_needs(factory, place.after(declared)))
    # Cached and not cached are two resources, also of one factory.
    source = identity(factory)
    key = (declared.cache, source)
    return Provider(name_of(factory), source, key, factory, declared.cache, needs)


def name_of(factory: object) -> str:
    """Return the name by which people know a factory."""
    inner = factory.func if isinstance(factory, functools.partial) else factory
    name: str = getattr(inner, "__qualname__", type(inner).__qualname__)
    return name.rpartition("<locals>.")[2]


def every(provider: Provider, without: Container[Hashable] = ()) -> Iterator[Provider]:
    """Yield *provider* and all that it needs; nothing of what is in *without*."""
    if provider.source not in without:
        yield provider
        for _, need in provider.needs:
            yield from every(need, without)


def identity(factory: Callable[..., Any]) -> Hashable:
    """Return what is equal for one factory: bound methods are new at each look."""
    try:
        hash(factory)
    except TypeError:
        return id(factory)
    return factory


def _of_file(declared: ResourceConfig, annotated: Any, place: Place) -> Provider:
    if not (isinstance(annotated, type) and issubclass(annotated, BaseModel)):
        shown = getattr(annotated, "__name__", annotated)
        raise place.refusal(
            f"a ResourceConfig gives a pydantic model, not {shown}; write e.g. "
            "`Annotated[Limits, ResourceConfig(...)]` with `class Limits(BaseModel)`"
        )
    source = config_files.Source(declared.config_file, declared.path_selector, annotated)
    return Provider(str(source), annotated, source, source.read, config=source)


def _needs(factory: Callable[..., Any], place: Place) -> Iterator[tuple[str, Provider]]:
    parameters = _parameters(factory)
    hints = _hints(factory, parameters, place)
    for parameter in parameters:
        hint = hints.get(parameter.name)
        is_marked = typing.get_origin(hint) is typing.Annotated
        inner, *marks = typing.get_args(hint) if is_marked else (hint,)
        declared = declared_in(tuple(marks))
        if declared is not None and parameter.kind is not parameter.POSITIONAL_ONLY:
            yield parameter.name, read(declared, inner, place)
        elif parameter.default is parameter.empty:
            way = " -> ".join(name_of(one.factory) for one in place.chain)
            raise place.refusal(
                f"the factory {way} takes {parameter.name}, which nothing gives; make it a "
                f"resource, `{parameter.name}: Annotated[T, Resource(...)]`, or give it a default"
            )


def _parameters(factory: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        every = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        # A class in C may not say what it takes.
        return []
    collecting = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one for one in every if one.kind not in collecting]


def _hints(
    factory: Callable[..., Any], parameters: list[inspect.Parameter], place: Place
) -> dict[str, Any]:
    """Return what the parameters are annotated with; what is returned may be unknown here."""
    function = _function(factory)
    around: dict[str, Any] = getattr(function, "__globals__", {})
    is_local = "<locals>" in getattr(function, "__qualname__", "")
    names = {k: v for k, v in place.names.items() if is_local or k not in around}
    hints: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.annotation is parameter.empty:
            continue
        one = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
        try:
            hints |= typing.get_type_hints(one, around, names, include_extras=True)
        except (NameError, AttributeError, SyntaxError, TypeError) as unknown:
            is_plain = "Annotated" not in str(parameter.annotation)
            if parameter.default is not parameter.empty and is_plain:
                continue
            finding = (
                f"{place.where}: the annotation of {parameter.name} of the factory "
                f"{name_of(factory)} cannot be resolved ({unknown}); define or import it, not only "
                "for type checkers"
            )
            raise Unresolved(place.where, [finding]) from None
    return hints


def _function(factory: Any) -> Any:
    """Return the function whose module has the names in the factory's annotations."""
    while isinstance(factory, functools.partial):
        factory = factory.func
    if isinstance(factory, type):
        factory = factory.__init__  # type: ignore[misc]  # that of this class, to read it
    elif not inspect.isroutine(factory):
        factory = type(factory).__call__
    return inspect.unwrap(factory)
