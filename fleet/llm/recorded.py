"""
Answers that a step has paid for, recorded so that its next attempt need not ask again.

The n-th call with the same request in an attempt gets the n-th answer that is recorded for it.
Outside of steps, and in steps that run in threads, nothing is recorded.
"""

import asyncio
import hashlib
import json
from collections import abc
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, Protocol

from pydantic_core import from_json, to_json

from fleet.config.current_step import CURRENT_CALLS
from fleet.records import limits
from fleet.records.calls import Call, Calls

#: `auto`: until the step itself raises, and then the last call is asked again. `always`: until the
#: step has its result. `off`: never.
Memo = Literal["auto", "always", "off"]

#: Options that say how to ask and not what.
_HOW = frozenset({"timeout", "extra_headers"})


class Place(Protocol):
    """Where one answer is recorded."""

    def asking(self) -> AbstractContextManager[None]:
        """Note that the step awaits the answer."""
        ...

    async def read(self) -> Any:
        """Return the recorded answer as JSON has it, or None."""
        ...

    async def keep(self, answer: Any) -> None:
        """Record an answer; return when that is committed."""
        ...


def place(memo: Memo, kind: str, request: abc.Mapping[str, Any]) -> Place:
    """Return where the answer to the next call with *request* is recorded."""
    make = CURRENT_CALLS.get() if memo != "off" else None
    calls = make() if make is not None else None
    if calls is None or not calls.is_open:
        return _Nowhere()
    asked = f"{kind} {_digest(request)}"
    call = Call("llm", f"{asked} {calls.count(asked)}")
    return _Journal(calls, call, is_refusable=memo == "auto")


class _Nowhere:
    """No step is there that could ask again."""

    def asking(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def read(self) -> Any:
        return None

    async def keep(self, answer: Any) -> None:
        pass


class _Journal:
    """Among the recorded calls of the step that runs."""

    def __init__(self, calls: Calls, call: Call, *, is_refusable: bool) -> None:
        self._calls = calls
        self._call = call
        self._is_refusable = is_refusable

    def asking(self) -> AbstractContextManager[None]:
        if self._is_refusable:
            return self._calls.asking(self._call)
        return self._calls.making(self._call)

    async def read(self) -> Any:
        found = await self._calls.read(self._call)
        # Calls that a step makes at once begin together, also if all of them are recorded.
        await asyncio.sleep(0)
        return None if found is None else from_json(found)

    async def keep(self, answer: Any) -> None:
        record = to_json(answer)
        # It is there, and the step may have ended; an answer that no record holds is no error.
        if self._calls.is_open and len(record) <= limits.VALUE_BYTES:
            await self._calls.record(self._call, record)


def _digest(request: abc.Mapping[str, Any]) -> str:
    said = {name: value for name, value in request.items() if name not in _HOW}
    text = json.dumps(said, sort_keys=True, default=_described)
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=16).hexdigest()


def _described(value: Any) -> str:
    """Return what tells an option that is no JSON from others, in any process."""
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if hasattr(value, "model_dump_json"):
        return f"{type(value).__qualname__} {value.model_dump_json()}"
    return repr(value)
