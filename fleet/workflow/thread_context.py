"""
The context of a step that is a plain function: its calls are made in the event loop.

The state is read and changed there alone. A step in a thread waits for each call.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from fleet.records.events import Event
from fleet.workflow.context import Context
from fleet.workflow.errors import WorkflowRuntimeError
from fleet.workflow.store import Store

T = TypeVar("T")


class StoreInPlainStep(WorkflowRuntimeError):
    """Raised when a step that is no `async def` uses what has to be awaited, as `ctx.store`.

    What to do: Write the step as `async def`, and call blocking code in it with
    `await asyncio.to_thread(...)`.
    """

    def __init__(self) -> None:
        super().__init__(
            "ctx.store, ctx.memo(), ctx.sleep(), ctx.run_workflow() and ctx.running_steps() are "
            "for steps that can await; write `async def`, and call what blocks with "
            "`await asyncio.to_thread(...)`"
        )


class ThreadContext(Context[Any]):
    """A context that may be used in a thread."""

    def __init__(
        self, *, inside: Context[Any], in_loop: Callable[[Callable[[], Any]], Any]
    ) -> None:
        vars(self).update(vars(inside))
        self._inside = inside
        self._in_loop = in_loop

    @property
    def store(self) -> Store[Any]:
        """Refused: what it does is awaited."""
        raise StoreInPlainStep

    async def sleep(self, seconds: float | timedelta) -> None:
        """Refused: it is awaited."""
        raise StoreInPlainStep

    async def wait_for_event(self, *_given: Any, **_by_name: Any) -> Any:
        """Refused: it is awaited."""
        raise StoreInPlainStep

    def run_workflow(self, *_given: Any, **_by_name: Any) -> Any:
        """Refused: it is awaited."""
        raise StoreInPlainStep

    async def running_steps(self) -> list[str]:
        """Refused: it is awaited."""
        raise StoreInPlainStep

    def memo(self, *_: Any, **__: Any) -> Any:
        """Refused: it is awaited."""
        raise StoreInPlainStep

    def send_event(self, event: Event, step: str | None = None) -> None:
        """See Context."""
        self._in_loop(partial(self._inside.send_event, event, step))

    def write_event_to_stream(self, event: Event) -> Awaitable[None]:
        """See Context."""
        written: Awaitable[None] = self._in_loop(partial(self._inside.write_event_to_stream, event))
        return written

    def collect_events(
        self, ev: Event, expected: Sequence[type[Event]], buffer_id: str | None = None
    ) -> list[Event] | None:
        """See Context."""
        collect = partial(self._inside.collect_events, ev, expected, buffer_id)
        collected: list[Event] | None = self._in_loop(collect)
        return collected
