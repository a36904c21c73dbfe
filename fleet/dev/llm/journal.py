"""
When each call came and when it was answered, for tests that compare the order of calls.

The counts say how often something was asked. That a call began after something else had happened,
and which of several callers made it, takes its time and the caller's own name (OpenAI's `user`).
It grows with every call, so it is kept only if `Behaviour.journal` asks for it.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from fleet.dev.llm.protocol import ChatRequest, Json


class Entry(NamedTuple):
    """Something that happened to one call."""

    #: The calls are numbered in the order in which they arrived.
    call: int
    #: Unix time.
    at: float
    #: Whether the call has arrived, or its answer is made; a fault is no answer.
    what: str
    #: Of a call that has arrived; empty else.
    prompt: str = ""
    #: As `prompt`: what the caller gave as `user`.
    user: str = ""


class Journal:
    """What happened so far, in order."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._entries: list[Entry] = []
        self._calls = 0

    def start(self, chat: ChatRequest) -> int:
        """Note that a call has arrived; return its number."""
        self._calls += 1
        self._entries.append(
            Entry(self._calls, self._now(), "started", chat.prompt, chat.user or "")
        )
        return self._calls

    def answer(self, call: int) -> None:
        """Note that the answer to *call* is made."""
        self._entries.append(Entry(call, self._now(), "answered"))

    def prompts(self) -> list[str]:
        """Return the prompts of the calls, in the order of their arrival."""
        return [entry.prompt for entry in self._entries if entry.what == "started"]

    def reset(self) -> None:
        """Forget everything; numbers continue."""
        self._entries.clear()

    def report(self, after: int) -> Json:
        """Return the entries from the one at *after* on, and how many there are."""
        later = [entry._asdict() for entry in self._entries[after:]]
        return {"scripted": True, "entries": later, "next": len(self._entries)}
