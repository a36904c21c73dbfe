"""Failures: an exception becomes data and, elsewhere, an exception of the same type."""

import asyncio
import builtins
import enum
import json
import os
import sys
import types
from collections.abc import Callable

import pytest

from fleet import Event, FleetError, WorkflowRuntimeError
from fleet.engine.transitions.sizes import MAX_VALUE_BYTES
from fleet.records import lifecycle
from fleet.records.lifecycle import Failed, Failure
from fleet.workflow.errors import StepTimeoutError
from fleet.workflow.failing import exceptions


class Plain(Exception):
    """An application's error."""


class Picky(Exception):
    """An error whose constructor takes something else than its text."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code


class Silent(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Outer:
    class Inner(Exception):
        """An error inside a class."""


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


class Color(enum.Enum):
    RED = 1


class Number(Event):
    number: int


def raised(error: BaseException) -> BaseException:
    """Return *error* with a stack."""
    try:
        raise error  # noqa: TRY301 - only a raised error has a stack
    except BaseException as caught:  # noqa: BLE001 - the one just raised
        return caught


def through_the_log(error: BaseException, step: str = "critique") -> BaseException:
    """Return what a caller gets for an error that a step raised."""
    failed = Failed(step=step, event_id="e1", attempt=2, failure=exceptions.describe(raised(error)))
    read = lifecycle.decode("failed", failed.encode())
    assert isinstance(read, Failed)
    return exceptions.revive(read, "r1")


class TestSameType:
    @pytest.mark.parametrize(
        "error",
        [
            KeyError("bad joke"),
            ValueError(),
            ValueError("a", 1, None, 2.5),
            ZeroDivisionError("division by zero"),
            Plain("ü"),
            Picky(5, reason="no"),
            Outer.Inner("x"),
            StepTimeoutError("critique", 2),
            FileNotFoundError(2, "No such file", "x.txt"),
            TimeoutError(),
        ],
        ids=repr,
    )
    def test_an_error_comes_back_as_it_was(self, error: Exception) -> None:
        """Type and text are the original's, whatever the constructor takes."""
        revived = through_the_log(error)
        assert type(revived) is type(error)
        assert str(revived) == str(error)

    def test_arguments_that_json_has_come_back(self) -> None:
        """`except KeyError as e: e.args[0]` works at the caller, too."""
        assert through_the_log(KeyError("key", 5)).args == ("key", 5)

    def test_the_notes_say_where_it_was_raised(self) -> None:
        """Step, run and attempt, and the stack of the worker."""
        where, stack = through_the_log(KeyError("x")).__notes__
        assert where == "in step critique of run r1, attempt 2"
        assert "Traceback" in stack
        assert "raise error" in stack

    def test_a_failure_before_any_step_says_so(self) -> None:
        """A record that could not be read has no step."""
        assert through_the_log(KeyError("x"), step="").__notes__[0].startswith("before a step")


class TestOtherType:
    def no_module(self) -> Exception:
        module = types.ModuleType("only_on_the_worker")
        exec("class Special(Exception): pass", module.__dict__)  # noqa: S102 - made at run time
        error: Exception = module.Special("text")
        return error

    def validation(self) -> Exception:
        with pytest.raises(ValueError, match="number") as caught:
            Number(number="x")  # type: ignore[arg-type]
        return caught.value

    def local(self) -> Exception:
        class Local(Exception):
            """Known in here only."""

        return Local("text")

    def group(self) -> Exception:
        return ExceptionGroup("several", [ValueError("one")])

    @pytest.mark.parametrize("make", [no_module, validation, local, group])
    def test_a_type_that_cannot_be_made_here_is_named(
        self, make: Callable[["TestOtherType"], Exception]
    ) -> None:
        """The caller gets a WorkflowRuntimeError with the type's name and the text."""
        error = make(self)
        revived = through_the_log(error)
        assert type(revived) is WorkflowRuntimeError
        assert type(error).__qualname__ in str(revived)
        assert str(error) in str(revived)
        assert isinstance(revived, FleetError)

    @pytest.mark.parametrize(
        "error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr
    )
    def test_what_would_stop_the_caller_is_named_only(self, error: BaseException) -> None:
        """A step that exits must not make its caller exit, nor look cancelled."""
        revived = through_the_log(error)
        assert type(revived) is WorkflowRuntimeError
        assert str(revived).startswith(type(error).__name__)

    def test_nothing_is_imported_for_a_record(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A record does not choose what code runs here: neither a module nor its lazy parts."""
        asked: list[str] = []
        lazy = types.ModuleType("lazy")
        lazy.__getattr__ = asked.append  # type: ignore[method-assign]
        monkeypatch.setitem(sys.modules, "lazy", lazy)
        monkeypatch.setattr(builtins, "__import__", lambda *_: pytest.fail("imported"))
        for module in ("lazy", "antigravity"):
            failure = Failure(module=module, type="Special", message="m")
            failed = Failed(step="s", event_id="e", failure=failure)
            assert type(exceptions.revive(failed, "r")) is WorkflowRuntimeError
        assert asked == []

    @pytest.mark.parametrize("name", ["open", "Color", "Outer", "Outer.Inner.Deeper", "", "."])
    def test_what_is_no_error_is_not_made(self, name: str) -> None:
        """A record may name anything; only exceptions are raised."""
        module = "builtins" if name == "open" else __name__
        failed = Failed(
            step="s", event_id="e", failure=Failure(module=module, type=name, message="m")
        )
        assert type(exceptions.revive(failed, "r")) is WorkflowRuntimeError


class TestDescribe:
    @pytest.mark.parametrize(
        "error",
        [
            ValueError("\ud83d"),
            ValueError(Unspeakable()),
            Silent(),
            Silent(Unspeakable()),
            ValueError(10**5000),
            ValueError(float("nan")),
            ValueError(Color.RED, {"a": object()}, b"\xff"),
            RecursionError("\0" * 100_000),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_any_error_can_be_written(self, error: Exception) -> None:
        """What cannot be said about an error never hides that there was one."""
        assert isinstance(through_the_log(error), Exception)

    @pytest.mark.parametrize("letter", ["x", "ü", "\U0001f600", "\0"])
    def test_a_failure_fits_a_record(self, letter: str) -> None:
        """Message, arguments and stack are cut, the stack at its beginning."""

        def deep(depth: int) -> None:
            if depth:
                deep(depth - 1)
            raise ValueError(*[letter * 100_000] * 20)

        with pytest.raises(ValueError, match=r"^") as caught:
            deep(100)
        failure = exceptions.describe(caught.value)
        written = Failed(step="s", event_id="e", failure=failure).encode()
        assert len(written) < MAX_VALUE_BYTES
        assert len(failure.args) == 8
        assert json.loads(written)["failure"]["type"] == "ValueError"

    def test_the_innermost_frames_are_kept(self) -> None:
        """The cause is at the end of a stack."""

        def the_cause(depth: int) -> str:
            return the_cause(depth - 1) if depth else os.environ["NOT SET"]

        with pytest.raises(KeyError) as caught:
            the_cause(200)
        assert 'else os.environ["NOT SET"]' in exceptions.describe(caught.value).stack
