"""
`ctx.memo`: the result of a function, recorded before the step goes on.

With a reconciler, the intent to call is recorded first. So an attempt that finds an intent and no
result knows that the call may have happened.
"""

import enum
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, TypeVar

from fleet.config import recorded_only
from fleet.records import limits
from fleet.records.calls import Call, Calls, Scope
from fleet.workflow.errors import WorkflowRuntimeError
from fleet.workflow.recorded import values

T = TypeVar("T")

_INTENT = b"intent"
#: The calls that the running code is inside of.
_INSIDE: ContextVar[tuple[Call, ...]] = ContextVar("fleet_memo_inside", default=())


class _NotDone(enum.Enum):
    NOT_DONE = "not done"


#: What the *reconcile* of `ctx.memo` returns if the call did not happen: in place of a result of
#: whatever type.
NOT_DONE: Any = _NotDone.NOT_DONE

#: Any function without arguments, async or plain.
Function = Callable[[], Any]
Reconcile = Callable[[], Awaitable[T]] | Callable[[], T]


class BadMemo(WorkflowRuntimeError):
    """Raised by `ctx.memo` for arguments that it cannot take, and inside its own function.

    What to do: Correct what the message names. Nothing was called.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"ctx.memo was called, and {reason}")


async def memo(  # noqa: PLR0913 - what `ctx.memo` is given
    calls: Calls,
    key: str,
    function: Function,
    scope: Literal["step", "run"],
    reconcile: Function | None,
    formerly: str | None = None,
) -> Any:
    """See `Context.memo`."""
    call = _call(key, function, scope)
    former = _call(formerly, function, scope) if formerly is not None else None
    with _inside(call):
        async with calls.turn(call):
            found = await calls.read(call)
            if found is None and former is not None:
                found = await calls.read(former)
            if found is None or found == _INTENT:
                found = await _made(calls, call, function, reconcile, intended=found is not None)
            return values.read(key, found, function)


async def _made(
    calls: Calls,
    call: Call,
    function: Function,
    reconcile: Function | None,
    *,
    intended: bool,
) -> bytes:
    """Call, and return what is recorded of the result."""
    recorded_only.check(f"ctx.memo({call.key!r})")
    value: Any = NOT_DONE
    if reconcile is not None and not intended:
        await calls.record(call, _INTENT)
    with calls.making(call):
        if reconcile is not None and intended:
            value = await _result(reconcile)
        if value is NOT_DONE:
            value = await _result(function)
    record = values.written(call.key, value, function)
    await calls.record(call, record)
    return record


async def _result(function: Callable[[], Any]) -> Any:
    given = function()
    return await given if inspect.isawaitable(given) else given


def _call(key: str, function: Any, scope: str) -> Call:
    if not isinstance(key, str) or not key:
        raise BadMemo(f"its key is {key!r}; a key is text that is not empty")
    if len(key) > limits.PATH_LENGTH:
        raise BadMemo(
            f"its key {key[:40]!r}... has {len(key):,} characters; a key has at most "
            f"{limits.PATH_LENGTH:,}"
        )
    if "\0" in key or not _is_text(key):
        raise BadMemo(f"its key {key[:40]!r} has a NUL or a surrogate; leave it out")
    if inspect.iscoroutine(function):
        function.close()
        raise BadMemo("it got a coroutine; give it the function: `ctx.memo(key, lambda: call())`")
    if not callable(function):
        raise BadMemo(f"it got {type(function).__name__} instead of a function")
    if scope not in tuple(Scope):
        raise BadMemo(f"its scope is {scope!r}; write 'step' or 'run'")
    return Call("memo", key, Scope(scope))


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _inside(call: Call) -> Iterator[None]:
    if call in _INSIDE.get():
        raise BadMemo(f"the function of the key {call.key!r} calls it itself; use another key")
    before = _INSIDE.set((*_INSIDE.get(), call))
    try:
        yield
    finally:
        _INSIDE.reset(before)
