"""Everything that a step, a validator or a serializer can raise: what nobody expects, too."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, NoReturn


class Panic(BaseException):
    """What extensions written in Rust raise."""


class WithoutArguments(Exception):
    """Its arguments are no tuple."""

    args: Any = None


class Greedy(Exception):
    """It has every attribute that somebody asks for, and each is a function."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: name


class Speechless(Exception):
    """It cannot be shown."""

    def __str__(self) -> str:
        raise Panic("str")

    def __repr__(self) -> str:
        raise Panic("repr")


class Classless(Exception):
    """Whoever asks for its class hears an error."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise Panic("class")


class Nameless(Exception):
    """Its module is no text."""


Nameless.__module__ = None  # type: ignore[assignment]


class Unnoted(Exception):
    """Its notes, causes and traceback are nothing of the kind."""

    __notes__: Any = 7

    def add_note(self, note: str) -> NoReturn:
        raise Panic(note)


class Hostile:
    """An argument that cannot be looked at."""

    def __repr__(self) -> str:
        raise Panic("argument")

    def __eq__(self, other: object) -> bool:
        raise Panic("equal")

    __hash__ = None  # type: ignore[assignment]


def _caused(depth: int) -> Exception:
    error = ValueError("the first")
    for number in range(depth):
        following = ValueError(f"cause {number}")
        following.__cause__ = error
        error = following
    return error


def _circular() -> Exception:
    error = ValueError("a circle")
    error.__cause__ = error.__context__ = error
    return error


def _nested(depth: int) -> BaseException:
    group: BaseException = Panic("innermost")
    for number in range(depth):
        group = BaseExceptionGroup(f"group {number}", [group])
    return group


def _long_name() -> Exception:
    kind = type("E" * 100_000, (Exception,), {})
    error: Exception = kind("a long name")
    return error


#: By name: what makes the exception.
KINDS: dict[str, Callable[[], BaseException]] = {
    "error": lambda: LookupError("usual"),
    "base": lambda: Panic("unusual"),
    "exit": lambda: SystemExit(3),
    "interrupt": KeyboardInterrupt,
    "generator exit": GeneratorExit,
    "cancelled": asyncio.CancelledError,
    "stop": lambda: StopAsyncIteration("stop"),
    "recursion": lambda: RecursionError("deep"),
    "memory": lambda: MemoryError("full"),
    "timeout": lambda: TimeoutError("slow"),
    "no arguments": WithoutArguments,
    "greedy": lambda: Greedy("greedy"),
    "speechless": Speechless,
    "classless": lambda: Classless("classless"),
    "nameless": lambda: Nameless("nameless"),
    "long name": _long_name,
    "unnoted": lambda: Unnoted("unnoted"),
    "hostile argument": lambda: ValueError(Hostile(), 10**5000, float("nan"), b"\xff"),
    "unpicklable": lambda: ValueError(threading.Lock()),
    "enormous": lambda: ValueError("\0" * 3_000_000, "\ud800" * 1_000_000),
    "group": lambda: BaseExceptionGroup("several", [Panic("one"), ValueError("two")]),
    "large group": lambda: ExceptionGroup("many", [ValueError(str(n)) for n in range(5_000)]),
    "deep group": lambda: _nested(3_000),
    "caused": lambda: _caused(20_000),
    "circular": _circular,
}
