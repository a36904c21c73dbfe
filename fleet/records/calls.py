"""
Recorded calls: what a step asks for besides its event, kept so that it need not be asked again.

The engine keeps bytes for a call and knows nothing of what they mean: a value of `ctx.memo`, the
answer of a model, a sleep that is over.
"""

import enum
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import NamedTuple, Protocol

#: Begins the name of a call in the state whose answer its step has refused.
SET_ASIDE = "refused"
#: Begins what is set aside of a call that has raised: the rest describes what it was.
FAILED = b"failed "


class Scope(enum.StrEnum):
    """Who shares what a call gave."""

    #: The attempts of one step for one event; it is removed with the step's result.
    STEP = "step"
    #: All steps of a run; it is removed with the run.
    RUN = "run"


class Call(NamedTuple):
    """A call of a step."""

    #: `memo`, `llm`, `sleep`, `wait`, `child`.
    kind: str
    #: Which one of its kind.
    key: str
    scope: Scope = Scope.STEP

    @property
    def name(self) -> str:
        """Its name in the state."""
        return f"{self.kind} {self.key}"


class Calls(Protocol):
    """The recorded calls of one attempt."""

    @property
    def is_open(self) -> bool:
        """Whether the step runs, and the running code is in its event loop."""
        ...

    def count(self, asked: str) -> int:
        """Return how often the attempt has asked so, from 1; this time counts."""
        ...

    def asking(self, call: Call) -> AbstractContextManager[None]:
        """Note that the step awaits an answer, which it may refuse.

        If the step itself raises, what is recorded of its last such call is removed, and of those
        that it awaited at the same time.
        """
        ...

    def making(self, call: Call) -> AbstractContextManager[None]:
        """Note what the call raises: a replay of the run raises it again."""
        ...

    def turn(self, call: Call) -> AbstractAsyncContextManager[None]:
        """Wait for others that make this call now; keep others out while it is held."""
        ...

    async def read(self, call: Call) -> bytes | None:
        """Return what is recorded for a call once that is in the log, or None."""
        ...

    def record(self, call: Call, value: bytes) -> Awaitable[None]:
        """Record what a call gave; what is returned waits until it is committed.

        Raises RecordTooLarge, CancelledError in an attempt that was stopped, and CallTooLate if
        the step has ended.
        """
        ...
