"""
Event loops without an end, such as a notebook kernel's.

Apps and connections of such a loop are stopped when the process ends. Else Python would wait for
Faust's consumer thread for ever. The app's consumer group would wait for a member that is gone, and
with it the first run of the next kernel.
"""

import asyncio
import contextlib
import threading
import weakref

#: How long stopping may take, in seconds. Jupyter kills a kernel that takes longer.
_STOP_SECONDS = 4.0

_loops: "weakref.WeakSet[asyncio.AbstractEventLoop]" = weakref.WeakSet()


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """Close the generators of *loop* at the end of the process, if it is still open then."""
    if not _loops:
        # Not `atexit`, which runs only after all threads have ended, Faust's too.
        threading._register_atexit(_close_all)  # type: ignore[attr-defined] # noqa: SLF001
    _loops.add(loop)


def _close_all() -> None:
    for loop in list(_loops):
        if not loop.is_closed() and not loop.is_running():
            _close(loop)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    closing = loop.create_task(_closed(loop))
    closing.add_done_callback(lambda _: loop.stop())
    # More than once: a notebook kernel lets its loop stop some moments after its last message.
    while not closing.done():
        loop.run_forever()


async def _closed(loop: asyncio.AbstractEventLoop) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_STOP_SECONDS):
            await loop.shutdown_asyncgens()
