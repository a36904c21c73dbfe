"""
The life of a user's Faust app that carries workflows.

The app is started at the first run if nothing has started it, and stopped with the event loop then.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from fleet.host import transport, web_port

#: One start at a time, whichever of an app's workflows runs first.
_starting: WeakKeyDictionary[Any, asyncio.Lock] = WeakKeyDictionary()
#: Holds the generators of `end_with_the_loop` for as long as their loop.
_lifetimes: WeakKeyDictionary[asyncio.AbstractEventLoop, list[object]] = WeakKeyDictionary()


async def start(app: Any) -> None:
    """Start *app* if it has not started; it is stopped with the running event loop."""
    async with _starting.setdefault(app, asyncio.Lock()):
        if not app.started:
            web_port.choose_port(app)
            app.conf.datadir.mkdir(parents=True, exist_ok=True)
            await app.start()
            transport.check_consumer(app)
            running = asyncio.create_task(_until_cancelled(app), name=f"app {app.conf.id}")
            await end_with_the_loop(partial(_ended, running))


async def _until_cancelled(app: Any) -> None:
    """Stop *app* when the loop's tasks are cancelled, as `asyncio.run` does at its end.

    Faust's supervisor of agents may lose its cancellation then and start the agents again, and
    `asyncio.run` waits for it for ever. A supervisor that is stopped ends.
    """
    try:
        await asyncio.Event().wait()
    finally:
        await app.stop()


async def _ended(running: "asyncio.Task[None]") -> None:
    running.cancel()
    await asyncio.wait({running})


async def end_with_the_loop(stop: Callable[[], Awaitable[object]]) -> None:
    """Call *stop* when the event loop is shut down: it closes the generators that are open."""

    async def lifetime() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await stop()

    generator = lifetime()
    await anext(generator)
    _lifetimes.setdefault(asyncio.get_running_loop(), []).append(generator)
