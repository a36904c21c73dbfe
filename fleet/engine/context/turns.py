"""Turns at what only one may do at a time, in the order in which they asked."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(eq=False, slots=True)
class _Line:
    """Those who want the same."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: How many have it or wait.
    users: int = 0


class Turns(Generic[K]):
    """A line for each key that is in use."""

    def __init__(self) -> None:
        self._lines: dict[K, _Line] = {}

    @asynccontextmanager
    async def turn(self, key: K) -> AsyncIterator[None]:
        """Wait for those who asked before, and keep others out."""
        line = self._lines.setdefault(key, _Line())
        line.users += 1
        try:
            async with line.lock:
                yield
        finally:
            line.users -= 1
            if not line.users:
                del self._lines[key]
