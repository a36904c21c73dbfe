"""
`@step`: marks an async method as a step of its workflow.

It checks the function alone. Annotations are read later (`signature`), because they may name types
that are defined after the class.
"""

import functools
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any, TypeVar, overload

from fleet.workflow.errors import (
    NotAvailableYet,
    WorkflowConfigurationError,
    WorkflowValidationError,
)
from fleet.workflow.steps import DEFAULT_NUM_WORKERS, Options, StepFunction

F = TypeVar("F", bound=StepFunction)

_MARK = "__fleet_step__"

_LATER = {
    "retry_policy": "let the step itself try again, or leave it out: a failed step ends its run",
    "skip_graph_checks": "fix what the graph check reports",
    "accept_event_subclasses": "annotate the union of the types: `ev: Cat | Dog`",
    "workflow": "write it as a method of the class",
}


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


def options_of(function: object) -> Options:
    """Return the arguments with which `@step` marked *function*."""
    options: Options = getattr(function, _MARK)
    return options


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
