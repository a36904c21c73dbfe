"""What an attempt of a step ends with, and how an exception becomes data and back."""

import sys
import traceback
from dataclasses import dataclass
from typing import Any, NamedTuple

from fleet.records.events import Event
from fleet.records.lifecycle import Failed, Failure
from fleet.workflow.errors import WorkflowRuntimeError

#: Frames of a stack that are kept, the innermost: the cause is at the end.
_STACK_FRAMES = 30
#: Characters of a message and of a stack that are kept, so that a failure always fits a record.
_MESSAGE_LENGTH = 8_000
_STACK_LENGTH = 20_000
_ARGUMENTS = 8
#: Larger integers can be written as JSON and are not read by every reader of it.
_LARGEST_NUMBER = 2**63


class Sent(NamedTuple):
    """An event that a step sends, with the step it is meant for or None."""

    event: Event
    step: str | None = None


class Returned(NamedTuple):
    """The attempt succeeded."""

    #: What was sent, the returned event last.
    sent: tuple[Sent, ...]
    #: Changes of the context by state key; None deletes.
    changes: dict[bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class Raised:
    """The attempt failed."""

    error: BaseException


def describe(error: BaseException) -> Failure:
    """Turn an exception into data."""
    kind = type(error)
    text = _text(error)
    stack = "".join(traceback.format_exception(error, limit=-_STACK_FRAMES))
    return Failure(
        module=kind.__module__,
        type=kind.__qualname__,
        message=_writable(repr(kind) if text is None else text, _MESSAGE_LENGTH),
        args=tuple(_argument(arg) for arg in error.args[:_ARGUMENTS]),
        stack=_writable(stack[-_STACK_LENGTH:], _STACK_LENGTH),
    )


def revive(failed: Failed, run_id: str) -> BaseException:
    """Return the exception to raise to whoever awaits the run.

    It is of the original type where this process has imported that type, else a
    WorkflowRuntimeError that names it. Nothing is imported for it: a record must not choose what
    code runs here.
    """
    failure = failed.failure
    error = _original(failure)
    if error is None:
        text = f": {failure.message}" if failure.message else ""
        error = WorkflowRuntimeError(f"{failure.type}{text}")
    where = f"in step {failed.step}" if failed.step else "before a step could run"
    error.add_note(f"{where} of run {run_id}, attempt {failed.attempt}")
    if failure.stack:
        error.add_note(f"There it was raised so:\n{failure.stack.rstrip()}")
    return error


def _original(failure: Failure) -> Exception | None:
    kind = _imported(failure)
    if kind is None:
        return None
    error = _made(kind, failure.args)
    if error is not None and _text(error) != failure.message:
        error = _made(kind, (failure.message,))
    return error if error is not None and _text(error) == failure.message else None


def _imported(failure: Failure) -> type[Exception] | None:
    found: Any = sys.modules.get(failure.module)
    for name in failure.type.split("."):
        # What is there, not what a module's own __getattr__ would import.
        found = getattr(found, "__dict__", {}).get(name)
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def _made(kind: type[Exception], arguments: tuple[Any, ...]) -> Exception | None:
    try:
        # Past the constructor, whose signature is the type's own: only the text has to survive.
        error = kind.__new__(kind)
        error.args = arguments
    except Exception:  # noqa: BLE001 - some cannot be made so: ExceptionGroup, pydantic's errors
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


def _text(error: BaseException) -> str | None:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a foreign __str__ may miss what its constructor sets
        return None


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - as foreign as __str__
        return f"<{type(value).__name__}>"
