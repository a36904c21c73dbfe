"""
`@step` and `@catch_error`: mark an async method as a step of its workflow.

It checks the function alone. Annotations are read later (`signature`), because they may name types
that are defined after the class.
"""

import functools
import inspect
import re
import sys
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

from fleet.records.envelope import MAX_COUNT
from fleet.workflow import checks
from fleet.workflow.errors import (
    BadOption,
    WorkflowConfigurationError,
    WorkflowValidationError,
)
from fleet.workflow.failing import retrying
from fleet.workflow.failing.catching import Catches
from fleet.workflow.failing.retrying import RetryPolicy
from fleet.workflow.steps import DEFAULT_NUM_WORKERS, Options, StepFunction
from fleet.workflow.versions import former_names

F = TypeVar("F", bound=StepFunction)

_MARK = "__fleet_step__"
_NAMES = "__fleet_names__"
#: A name in an annotation that is text.
_NAME = re.compile(r"[^\W\d]\w*")

_KNOWN = (
    "num_workers",
    "timeout",
    "retry_policy",
    "workflow",
    "skip_graph_checks",
    "accept_event_subclasses",
    "formerly",
)


@overload
def step(function: F, /) -> F: ...
@overload
def step(
    *,
    workflow: type | None = ...,
    num_workers: int = ...,
    timeout: float | None = ...,
    retry_policy: RetryPolicy | None = ...,
    skip_graph_checks: Collection[str] | None = ...,
    accept_event_subclasses: bool = ...,
    formerly: str | Sequence[str] | None = ...,
    **unknown: Any,
) -> Callable[[F], F]: ...
def step(  # noqa: PLR0913 - each is an option of its own
    function: StepFunction | None = None,
    /,
    *,
    workflow: Any = None,
    num_workers: int = DEFAULT_NUM_WORKERS,
    timeout: float | None = None,
    retry_policy: RetryPolicy | None = None,
    skip_graph_checks: Collection[str] | None = None,
    accept_event_subclasses: bool = False,
    formerly: str | Sequence[str] | None = None,
    **unknown: Any,
) -> Any:
    """Make an async method a step: `@step` or `@step(num_workers=8, timeout=30)`.

    *num_workers* bounds how many attempts of this step one run has in flight. *timeout*, in
    seconds, bounds each attempt. *retry_policy* decides whether a failed attempt is made again, and
    when; without it, the policy of the workflow does. *accept_event_subclasses* gives it subclasses
    of the types that it names, too. *formerly* is the name that it had before you renamed it, or a
    tuple of such names, the oldest first: work of open runs for the old name is this step's.
    *skip_graph_checks* names checks that find nothing about it:
    "reachability", "terminal_event", "dead_end". *workflow* is for a function outside of a class,
    which has no `self`: it becomes a step of that workflow. Raises WorkflowConfigurationError for
    anything else.
    """
    _refuse(unknown)
    options = Options(
        _checked_num_workers(num_workers),
        _checked_timeout(timeout),
        retrying.checked(retry_policy, "@step(retry_policy=...)"),
        skip_graph_checks=checks.names(skip_graph_checks, "@step(skip_graph_checks=...)"),
        accept_event_subclasses=bool(accept_event_subclasses),
        formerly=former_names.checked(formerly, "@step(formerly=...)"),
    )
    if workflow is None:
        mark = functools.partial(_mark, options=options)
    else:
        _check_workflow(workflow)
        around = names_around(depth=1)
        mark = functools.partial(_added, workflow=workflow, options=options, around=around)
    return mark if function is None else mark(function)


@overload
def catch_error(function: F, /) -> F: ...
@overload
def catch_error(
    *,
    for_steps: list[str] | None = ...,
    max_recoveries: int = ...,
    formerly: str | Sequence[str] | None = ...,
) -> Callable[[F], F]: ...
def catch_error(
    function: StepFunction | None = None,
    /,
    *,
    for_steps: list[str] | None = None,
    max_recoveries: int = 1,
    formerly: str | Sequence[str] | None = None,
) -> Any:
    """Make a method the step that handles failures of other steps: it takes a StepFailedEvent.

    It runs when a step has failed and is not tried again, in the place of what that step would have
    returned; the run goes on. *for_steps* names the steps that it is for; without it, it is for all
    that no other handler names. *max_recoveries* bounds how often it runs in one lineage: for a
    failure, for a failure of what follows from its own events, and so on. One more such failure
    fails the run, and so does a failure of the handler. *formerly* is as for `@step`. Raises
    BadOption.
    """
    catches = Catches(_checked_for_steps(for_steps), _checked_recoveries(max_recoveries))
    # Each failure on its own: a handler of many may ask a model.
    names = former_names.checked(formerly, "@catch_error(formerly=...)")
    options = Options(num_workers=1, formerly=names, catches=catches)
    mark = functools.partial(_mark, options=options)
    return mark if function is None else mark(function)


def options_of(function: object) -> Options:
    """Return the arguments with which `@step` marked *function*."""
    options: Options = getattr(function, _MARK)
    return options


def names_of(function: object) -> dict[str, Any]:
    """Return the local types around a function that became a step outside of a class."""
    names: dict[str, Any] = getattr(function, _NAMES, {})
    return names


def is_step(member: object) -> bool:
    """Tell whether `@step` marked this member of a class."""
    return hasattr(member, _MARK)


def names_around(depth: int) -> dict[str, Any]:
    """Return the local names around a class body, so that local event classes resolve."""
    body = sys._getframe(depth + 1)  # noqa: SLF001 - no public way
    frame: types.FrameType | None = body
    names: dict[str, Any] = {}
    while frame is not None and frame.f_code.co_name != "<module>":
        # Of its own module only: the same name in another module means something else.
        if frame.f_globals is body.f_globals:
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names


def kept_names(names: Mapping[str, Any], members: Iterable[Any]) -> dict[str, Any]:
    """Return which of *names* the annotations of *members* may use, some of which are steps.

    All types, and what a step or a factory of a resource mentions in an annotation that is text.
    Other values may be large, and are not kept.
    """
    kept = {name: value for name, value in names.items() if _is_type(value)}
    unread = [member for member in members if is_step(member)]
    while unread:
        for name in (_mentioned(unread.pop()) & names.keys()) - kept.keys():
            kept[name] = names[name]
            unread.append(names[name])
    return kept


def _mentioned(function: object) -> set[str]:
    """Return the names in the annotations of *function* that are text."""
    annotations = getattr(inspect.unwrap(function), "__annotations__", {})  # type: ignore[arg-type]
    texts = [text for text in annotations.values() if isinstance(text, str)]
    return set(_NAME.findall(" ".join(texts)))


def _is_type(value: object) -> bool:
    plain = isinstance(value, type | types.UnionType | types.ModuleType)
    return plain or type(value).__module__ == "typing"


def _mark(function: StepFunction, options: Options) -> StepFunction:
    _check_function(function)
    if _is_free(function):
        added = "write `@step(workflow=JokeFlow)` with its workflow, or "
        finding = (
            f"step {function.__name__} is a function outside of a class, so no workflow has it; "
            f"{added if options.catches is None else ''}make it a method, with `self`"
        )
        raise WorkflowValidationError(function.__name__, [finding])
    setattr(function, _MARK, options)
    return function


def _added(
    function: StepFunction, workflow: Any, options: Options, around: dict[str, Any]
) -> StepFunction:
    _check_function(function)
    setattr(function, _MARK, options)
    setattr(function, _NAMES, kept_names(around, [function]))
    workflow.add_step(function)
    return function


def _check_function(function: StepFunction) -> None:
    if not _is_function(function):
        name = getattr(function, "__name__", repr(function))
        owner = getattr(function, "__qualname__", name).split(".")[-2:][0]
        raise WorkflowValidationError(owner, [f"step {name} {_no_step(function)}"])


def _is_free(function: StepFunction) -> bool:
    """Tell whether *function* is outside of a class, and not written to be put into one."""
    outer = function.__qualname__.rpartition(".")[0]
    outside = not outer or outer.endswith("<locals>")
    return outside and next(iter(inspect.signature(function).parameters), "") != "self"


def _is_function(function: object) -> bool:
    """Tell whether *function* can be called as a step: it is `async def`, or runs in a thread."""
    if inspect.iscoroutinefunction(function):
        return not isinstance(function, functools.partial)
    generates = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    if not inspect.isfunction(function) or generates:
        return False
    # A decorator's plain wrapper of an `async def` returns what is to be awaited.
    return not inspect.iscoroutinefunction(inspect.unwrap(function))


def _no_step(function: object) -> str:
    """Say why *function* cannot be a step, and what to write."""
    if isinstance(function, staticmethod | classmethod):
        return f"is a {type(function).__name__}; write it as a method: `async def`, with `self`"
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        return (
            "has a `yield`; return a list of events, `-> list[...]`, or send them one by one with "
            "ctx.send_event(event), and show some with ctx.write_event_to_stream(event)"
        )
    if isinstance(function, functools.partial):
        return "is a partial, which has no name and no annotations; write an `async def` function"
    if isinstance(function, type):
        return "is a class; mark an `async def` method with @step"
    inner = inspect.unwrap(function) if callable(function) else function
    if inner is not function and inspect.iscoroutinefunction(inner):
        return (
            "is wrapped by a decorator that makes a plain function of it; put @step first, below "
            "that decorator, or make the decorator's wrapper `async def`"
        )
    return "must be a function: `def`, or `async def`"


def _refuse(unknown: dict[str, Any]) -> None:
    for name in unknown:
        raise WorkflowConfigurationError(
            f"@step takes no argument {name!r}; it takes {', '.join(_KNOWN[:-1])} and {_KNOWN[-1]}"
        )


def _check_workflow(workflow: object) -> None:
    if not isinstance(workflow, type) or not hasattr(workflow, "add_step"):
        kind = workflow.__name__ if isinstance(workflow, type) else type(workflow).__name__
        raise WorkflowConfigurationError(
            f"@step(workflow=...) takes a workflow class, not {kind}; write e.g. "
            "`@step(workflow=JokeFlow)`"
        )


def _checked_num_workers(num_workers: object) -> int:
    if not isinstance(num_workers, int) or isinstance(num_workers, bool) or num_workers < 1:
        raise BadOption(f"num_workers must be an integer greater than 0, not {num_workers!r}")
    return num_workers


def _checked_for_steps(given: object) -> tuple[str, ...] | None:
    if given is None:
        return None
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        raise BadOption(f"for_steps must be a list of names of steps, not {given!r}")
    return tuple(dict.fromkeys(given))


def _checked_recoveries(given: object) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= MAX_COUNT:
        raise BadOption(f"max_recoveries must be an integer greater than 0, not {given!r}")
    return given


def _checked_timeout(timeout: object) -> float | None:
    if timeout is None:
        return None
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not timeout > 0:
        raise BadOption(
            f"a step's timeout must be a number of seconds greater than 0, not {timeout!r}"
        )
    return float(timeout)
