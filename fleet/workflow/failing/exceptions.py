"""
How an exception becomes data and back: what travels of it, and what is raised again elsewhere.

Nothing is imported for it: a record must not choose what code runs here.
"""

import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

from fleet.records import printable
from fleet.records.lifecycle import Failed, Failure
from fleet.workflow.errors import WorkflowRuntimeError
from fleet.workflow.failing import attributes

#: Frames of a stack that are kept, the innermost: the cause is at the end.
_STACK_FRAMES = 30
#: Characters of a message and of a stack that are kept, so that a failure always fits a record.
_MESSAGE_LENGTH = 8_000
_STACK_LENGTH = 20_000
_ARGUMENTS = 8
#: Characters of the names of a type and its module that are kept.
_NAME_LENGTH = 300
#: Causes, contexts and members of a group that a stack shows; with more it shows none of them.
_RELATED = 50
#: Larger integers can be written as JSON and are not read by every reader of it.
_LARGEST_NUMBER = 2**63

T = TypeVar("T")
U = TypeVar("U")
E = TypeVar("E", bound=BaseException | None)


def describe(error: BaseException) -> Failure:
    """Turn an exception into data: as much of it as can be read.

    Whatever the exception does when it is looked at, this returns.
    """
    kind = type(error)
    text = _text(error)
    return Failure(
        module=_tried(lambda: _name(kind.__module__), "builtins"),
        type=_tried(lambda: _name(kind.__qualname__), "Exception"),
        message=_tried(lambda: _writable(repr(kind) if text is None else text, _MESSAGE_LENGTH)),
        args=_tried(lambda: tuple(map(_argument, error.args[:_ARGUMENTS])), ()),
        attributes=_tried(lambda: attributes.read(error), {}),
        stack=_tried(lambda: _stack(error)),
    )


def revive(failed: Failed, run_id: str) -> Exception:
    """Return the exception to raise to the caller that awaits the run.

    It is of the original type if this process has imported that type, else a WorkflowRuntimeError
    that names it.
    """
    place = f"in step {failed.step}" if failed.step else "before a step could run"
    return revived(
        failed.failure, [f"{place} of run {printable.line(run_id)}, attempt {failed.attempt}"]
    )


def revived(failure: Failure, told: Iterable[str] = ()) -> Exception:
    """Return the exception that *failure* describes, with the notes *told* and its traceback.

    It is of the original type if this process has imported that type, else a WorkflowRuntimeError
    that names it.
    """
    notes = [*told]
    if failure.stack:
        notes.append(f"Original traceback:\n{failure.stack.rstrip()}")
    error = _tried(lambda: _noted(_original(failure), notes), None)
    if error is None:
        text = f": {failure.message}" if failure.message else ""
        error = _noted(WorkflowRuntimeError(f"{failure.type}{text}"), notes)
        own = dir(WorkflowRuntimeError)
        attributes.write(error, {k: v for k, v in failure.attributes.items() if k not in own})
    return error


def _noted(error: E, notes: list[str]) -> E:
    if error is not None:
        for note in notes:
            error.add_note(note)
    return error


def _original(failure: Failure) -> Exception | None:
    kind = _imported(failure)
    if kind is None:
        return None
    for given in (failure.attributes, {}):
        for arguments in (failure.args, (failure.message,)):
            error = _made(kind, arguments, given)
            if error is not None and _text(error) == failure.message:
                return error
    return None


def _imported(failure: Failure) -> type[Exception] | None:
    found: Any = sys.modules.get(failure.module)
    for name in failure.type.split("."):
        # What is there, not what a module's own __getattr__ would import.
        found = getattr(found, "__dict__", {}).get(name)
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def _made(
    kind: type[Exception], arguments: tuple[Any, ...], given: Mapping[str, Any]
) -> Exception | None:
    try:
        # Past the constructor, whose signature is the type's own: only the text has to survive.
        error = kind.__new__(kind)
        # Not setattr, which may be the type's own.
        BaseException.args.__set__(error, arguments)  # type: ignore[attr-defined]
        attributes.write(error, given)
    except BaseException:  # noqa: BLE001 - some cannot be made so: ExceptionGroup, pydantic's errors
        return None
    return error


def _argument(value: object) -> object:
    if isinstance(value, str):
        return _writable(value, _MESSAGE_LENGTH)
    if value is None or (isinstance(value, int | float) and abs(value) < _LARGEST_NUMBER):
        return value
    return _writable(_shown(value), _MESSAGE_LENGTH)


def _writable(text: str, length: int) -> str:
    """Return the beginning of *text*, without the halves of characters that UTF-8 has not."""
    return text[:length].encode(errors="replace").decode()


def _name(text: str) -> str:
    return _writable(text, _NAME_LENGTH)


def _text(error: BaseException) -> str | None:
    # A foreign __str__ may miss what its constructor sets.
    return _tried(lambda: str(error), None)


def _shown(value: object) -> str:
    # As foreign as __str__.
    return _tried(lambda: repr(value), f"<{type(value).__name__}>")


def _stack(error: BaseException) -> str:
    if _is_large(error):
        # Without its causes and members: each of them is a traceback of its own.
        lines = ["Traceback (most recent call last):\n"]
        lines += traceback.format_tb(error.__traceback__, limit=-_STACK_FRAMES)
        lines.append(f"{type(error).__qualname__}: {_text(error)}\n")
    else:
        lines = traceback.format_exception(error, limit=-_STACK_FRAMES)
    return _writable("".join(lines)[-_STACK_LENGTH:], _STACK_LENGTH)


def _is_large(error: BaseException) -> bool:
    """Tell whether an exception has more causes and members than a stack can show."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left and len(seen) <= _RELATED:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        left += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            left += each.exceptions[:_RELATED]
    return len(seen) > _RELATED


@overload
def _tried(read: Callable[[], str], otherwise: str = ...) -> str: ...
@overload
def _tried(read: Callable[[], T], otherwise: U) -> T | U: ...
def _tried(read: Callable[[], Any], otherwise: Any = "") -> Any:
    """Return what foreign code gives, or something else where it raises anything at all."""
    try:
        return read()
    except BaseException:  # noqa: BLE001 - the boundary: an exception can be made of anything
        return otherwise
