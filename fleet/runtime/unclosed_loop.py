"""
Event loops that nobody closes, such as a notebook kernel's.

What was started in one (the user's app, a connection) is stopped when the process ends. Else the
app's consumer group waits for a member that is gone, and the next kernel's first run with it.
"""

import asyncio
import atexit
import contextlib
import weakref

#: A kernel that takes longer to end is killed, in seconds.
_STOP_SECONDS = 4.0

_loops: "weakref.WeakSet[asyncio.AbstractEventLoop]" = weakref.WeakSet()


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """Let *loop* close its generators at the end of the process, where nobody else has done it."""
    if not _loops:
        atexit.register(_close_all)
    _loops.add(loop)


def _close_all() -> None:
    for loop in list(_loops):
        if not loop.is_closed() and not loop.is_running():
            with contextlib.suppress(TimeoutError):
                loop.run_until_complete(_closed(loop))


async def _closed(loop: asyncio.AbstractEventLoop) -> None:
    async with asyncio.timeout(_STOP_SECONDS):
        await loop.shutdown_asyncgens()
