"""
Whether the event loop turns: a step that blocks it holds up every run of its worker.

A thread looks from outside, because nothing within a blocked loop can look. It names what the loop
is doing when it has not turned for LOOKS looks. It counts looks and not seconds: a process that was
frozen has not looked.
"""

import asyncio
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from fleet.config import logs
from fleet.config.current_step import CURRENT_STEP, CurrentStep

#: How often the loop shows that it turns, and how often the thread looks, in seconds.
BEAT_SECONDS = 0.25
#: After this number of looks without a turn the loop counts as blocked.
LOOKS = 4

_log = logs.get_logger("loop_watch")

#: A user would not look first at code in these folders.
_LIBRARIES = (
    *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
    str(Path(__file__).parent.parent),
)


@dataclass(frozen=True)
class Blocked:
    """What the event loop was doing when it stood still."""

    #: The step that blocks it; None if it is no step, or several.
    step: CurrentStep | None
    #: The place in its code: file, line and function.
    at: str


class LoopWatch:
    """Watches the event loop in which it runs, and names the step that blocks it.

    After each standstill it calls *counted* with the name of the step that blocked the loop (empty
    without one) and the seconds.
    """

    def __init__(
        self,
        counted: Callable[[str, float], object],
        said: Callable[[Blocked], object] = lambda _: None,
    ) -> None:
        self._counted = counted
        self._said = said
        self._beats = 0
        self._over = threading.Event()
        #: At the last look: the beats, and how often and since when they were the same.
        self._seen = -1
        self._looks = 0
        self._since = 0.0
        #: The task that the loop was running at the first look without a turn.
        self._first: object = None
        self._found: Blocked | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        place = asyncio.get_running_loop(), threading.get_ident()
        threading.Thread(
            target=self._watch, args=place, name="fleet loop watch", daemon=True
        ).start()
        try:
            while True:
                self.beat()
                await asyncio.sleep(BEAT_SECONDS)
        finally:
            self._over.set()

    def beat(self) -> None:
        """Note that the loop turns."""
        self._beats += 1

    def look(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        """Look at *loop*, which runs in *thread*; report once if it stands still."""
        if self._beats != self._seen:
            self._turned()
            return
        self._looks += 1
        if self._looks == 1:
            self._first = asyncio.current_task(loop)
        elif self._looks == LOOKS:
            self._found = _look(loop, thread, self._first)
            self._tell(self._found)

    def _watch(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        while not self._over.wait(BEAT_SECONDS):
            self.look(loop, thread)

    def _turned(self) -> None:
        found, since = self._found, self._since
        self._seen, self._looks, self._found = self._beats, 0, None
        self._since = time.monotonic()
        if found is not None:
            seconds = self._since - since
            _log.warning("event_loop_went_on", **_named(found), seconds=round(seconds, 1))
            self._counted(found.step.step if found.step else "", seconds)

    def _tell(self, found: Blocked) -> None:
        _log.warning(
            "event_loop_blocked",
            **_named(found),
            at=found.at,
            hint="no run of this worker continues meanwhile; make the blocking call with "
            "`await asyncio.to_thread(...)`, or use its async form",
        )
        self._said(found)


def _named(found: Blocked) -> dict[str, str]:
    return found.step._asdict() if found.step is not None else {}


def _look(loop: asyncio.AbstractEventLoop, thread: int, first: object) -> Blocked:
    """Return what *loop* is doing in *thread*; *first* is the task that it ran before."""
    task = asyncio.current_task(loop)
    frames = list(_frames(sys._current_frames().get(thread)))  # noqa: SLF001 - documented
    # With another task the loop does turn, only not to its end: there is too much work.
    context = _context(task, frames) if task is not None and task is first else None
    return Blocked(context.get(CURRENT_STEP) if context is not None else None, _place(frames))


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _context(task: Any, frames: list[FrameType]) -> Context | None:
    """Return the context in which *task* runs."""
    if sys.version_info >= (3, 12):
        return task.get_context()  # type: ignore[no-any-return]
    # Python 3.11 does not tell; the callback that the loop runs knows its context.
    for frame in frames:
        handle = frame.f_locals.get("self")
        if isinstance(handle, asyncio.Handle):
            return getattr(handle, "_context", None)
    return None


def _place(frames: list[FrameType]) -> str:
    """Return the innermost place in a user's code, or else the innermost of all."""
    own = (frame for frame in frames if not _is_library(frame.f_code.co_filename))
    frame = next(own, frames[0] if frames else None)
    if frame is None:
        return "its thread has ended"
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"


def _is_library(filename: str) -> bool:
    return filename.startswith((*_LIBRARIES, "<frozen"))
