"""
A resource that all attempts of a worker share.

A task of its own makes it, waits and closes it: some clients must be closed by the task that opened
them. It is closed after those that use it, so a resource is there while what was made of it closes.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from typing import Any

from fleet.config import logs
from fleet.config.current_step import CURRENT_CALLS, CURRENT_STEP
from fleet.engine.resources.making import Close
from fleet.engine.resources.scope import Scope
from fleet.workflow.resources.providers import Provider

#: How long closing waits for attempts and resources that still use it, in seconds.
UNUSED_SECONDS = 5.0

_log = logs.get_logger("resources")


class Kept:
    """See `scope.Shared`."""

    def __init__(
        self, provider: Provider, scope: Scope, forget: Callable[["Kept"], object]
    ) -> None:
        self.provider = provider
        self._scope = scope
        self._forget = forget
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[Any] = loop.create_future()
        self._is_ending = asyncio.Event()
        self._unused = asyncio.Event()
        self._unused.set()
        self._waiting = self._users = 0
        self.task = loop.create_task(
            self._live(), name=f"resource {provider.name}", context=_outside_of_steps()
        )
        # Also of one that is cancelled before it runs.
        self.task.add_done_callback(lambda _: self._ready.cancel())

    @property
    def lasts(self) -> bool:
        """See `scope.Shared`."""
        return self._scope.lasts

    async def value(self) -> Any:
        """Return it, as soon as it is made; raise what its factory raised."""
        self._waiting += 1
        try:
            return await asyncio.shield(self._ready)
        finally:
            self._waiting -= 1
            if not self._waiting and not self._ready.done():
                # All that wanted it were cancelled, or took too long. Another one begins again.
                self.end()

    def use(self) -> Close:
        """See `scope.Shared`."""
        self._users += 1
        self._unused.clear()
        return self._release

    async def _release(self, _failure: BaseException | None) -> None:
        self._users -= 1
        if not self._users:
            self._unused.set()

    def end(self) -> None:
        """Close it when nothing uses it any more; if it is being made, stop that."""
        self._forget(self)
        self._is_ending.set()
        if not self._ready.done():
            self.task.cancel()

    async def _live(self) -> None:
        try:
            value = await self._scope.make(self.provider)
        except BaseException as failure:  # noqa: BLE001 - who waits for it hears of it
            self._forget(self)
            await self._scope.close_after(failure)
            self._fail(failure)
            return
        self._ready.set_result(value)
        if self.lasts:
            await self._until_end()

    def _fail(self, failure: BaseException) -> None:
        if isinstance(failure, asyncio.CancelledError):
            self._ready.cancel()
            return
        self._ready.set_exception(failure)
        # Those that waited may be gone.
        self._ready.exception()

    async def _until_end(self) -> None:
        try:
            await self._is_ending.wait()
        finally:
            # Also if it is cancelled: by the end of the loop, or by a client that broke.
            self._forget(self)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(UNUSED_SECONDS):
                    await self._unused.wait()
            try:
                await self._scope.close()
            except Exception:  # noqa: BLE001 - no attempt is there to hear of it
                _log.exception("resource_not_closed", resource=self.provider.name)


def _outside_of_steps() -> contextvars.Context:
    """Return the variables of who asks first, without its step: the value is not that step's."""
    context = contextvars.copy_context()
    context.run(CURRENT_STEP.set, None)
    context.run(CURRENT_CALLS.set, None)
    return context
