"""
Which calls a step has made last: if the step itself raises, it may have refused their answers.

Calls that were awaited at the same time are last together: nothing says which answer it refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from fleet.records.calls import Call
from fleet.workflow.errors import StepTimeoutError

#: Causes and members of groups that are looked at.
_RELATED = 50
#: How many failed calls of an attempt are kept.
_MOST_FAILED = 100


class LastCalls:
    """Of one attempt."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        #: What calls among them have raised.
        self._failures: list[BaseException] = []
        #: What any call has raised, unless it has given something since.
        self.failed: dict[Call, Exception] = {}
        self._open = 0

    @contextmanager
    def asking(self, call: Call) -> Iterator[None]:
        """Note that the step awaits an answer."""
        if not self._open:
            self._calls, self._failures = [], []
        self._calls.append(call)
        self._open += 1
        try:
            with self.making(call):
                yield
        except BaseException as failure:
            self._failures.append(failure)
            raise
        finally:
            self._open -= 1

    @contextmanager
    def making(self, call: Call) -> Iterator[None]:
        """Note what the call raises."""
        try:
            yield
        except Exception as failure:
            if len(self.failed) < _MOST_FAILED:
                self.failed[call] = failure
            raise
        self.failed.pop(call, None)

    def refused_with(self, error: BaseException) -> tuple[Call, ...]:
        """Return the calls to make again after the step has ended with *error*.

        None, if it is what a call has raised, or comes of it.
        """
        if type(error) is StepTimeoutError:
            return ()
        try:
            is_of_call = bool(self._failures) and self._is_of_call(error)
        except BaseException:  # noqa: BLE001 - the boundary: an exception can be made of anything
            is_of_call = False
        return () if is_of_call else tuple(self._calls)

    def _is_of_call(self, error: BaseException | None, depth: int = 0) -> bool:
        while error is not None and depth < _RELATED:
            if any(error is failure for failure in self._failures):
                return True
            if isinstance(error, BaseExceptionGroup):
                return all(self._is_of_call(member, depth + 1) for member in error.exceptions)
            error = error.__cause__ or error.__context__
            depth += 1
        return False
