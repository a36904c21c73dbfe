"""The resources of one worker: kept from their first use to its stop, or made for an attempt."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from fleet.config import logs
from fleet.engine.resources.kept import Kept
from fleet.engine.resources.scope import Needs, Scope
from fleet.engine.step_threads import StepThread
from fleet.workflow.resources.providers import Provider

#: How long the stop of a worker waits for resources to be closed, in seconds.
CLOSE_SECONDS = 10.0

_log = logs.get_logger("resources")
T = TypeVar("T")


class WorkerResources:
    """The resources of the steps of one worker, in one event loop.

    *given* has values that are used in the place of what factories make, and not closed.
    """

    def __init__(self, given: Mapping[Hashable, Any] = MappingProxyType({})) -> None:
        self._given = given
        self._kept: dict[Hashable, Kept] = {}
        #: What ends before the worker does, by its task: resources, and attempts that have some.
        self._open: dict[asyncio.Future[Any], str] = {}
        self._is_closed = False

    async def around(
        self,
        needs: Needs,
        call: Callable[[dict[str, Any]], Awaitable[T]],
        thread: StepThread | None = None,
    ) -> T:
        """Make what an attempt needs, call with it, and close what was made for the attempt.

        A call that failed raises its own error, and a call that did not what closing raises. A
        *thread* that its attempt leaves behind has its resources until it ends.
        """
        scope = self._scope()
        with self._named(needs):
            try:
                result = await call(await scope.values(needs))
            except GeneratorExit:
                # The loop is gone, and Python clears up: nothing can be awaited.
                raise
            except BaseException as failure:
                if thread is not None and thread.runs:
                    self._close_later(scope, failure, thread, needs)
                else:
                    await scope.close_after(failure)
                raise
            await scope.close()
            return result

    async def close(self) -> None:
        """Close every resource, after the attempts that have some; wait for that a while."""
        self._is_closed = True
        for kept in list(self._kept.values()):
            kept.end()
        if not self._open:
            return
        _, late = await asyncio.wait(self._open, timeout=CLOSE_SECONDS)
        if late:
            names = sorted({self._open[one] for one in late if one in self._open})
            _log.warning("resources_not_closed_in_time", resources=names, seconds=CLOSE_SECONDS)

    @contextlib.contextmanager
    def _named(self, needs: Needs) -> Iterator[None]:
        """Let the stop of the worker wait for what is done here."""
        ended = asyncio.get_running_loop().create_future()
        self._open[ended] = _names(needs)
        try:
            yield
        finally:
            del self._open[ended]
            if not ended.done():
                ended.set_result(None)

    def _close_later(
        self, scope: Scope, failure: BaseException, thread: StepThread, needs: Needs
    ) -> None:
        async def close() -> None:
            await asyncio.shield(thread.ended)
            await scope.close_after(failure)

        closing = asyncio.create_task(close(), name=f"close {_names(needs)}")
        self._open[closing] = _names(needs)
        closing.add_done_callback(lambda task: self._open.pop(task, None))

    def _scope(self) -> Scope:
        return Scope(self._shared, self._given)

    def _shared(self, provider: Provider) -> Kept:
        if self._is_closed:
            # The attempt that asks was stopped.
            raise asyncio.CancelledError
        kept = self._kept.get(provider.key)
        if kept is None:
            kept = self._kept[provider.key] = Kept(
                provider, Scope(self._shared, self._given), self._forget
            )
            self._open[kept.task] = provider.name
            kept.task.add_done_callback(lambda task: self._open.pop(task, None))
        return kept

    def _forget(self, kept: Kept) -> None:
        if self._kept.get(kept.provider.key) is kept:
            del self._kept[kept.provider.key]


def _names(needs: Needs) -> str:
    return ", ".join(provider.name for _, provider in needs)
