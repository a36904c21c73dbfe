"""
What a step may ask for besides its event.

A context belongs to one attempt. What it gathers (sent events, changed values) takes effect with
the step's result, all or nothing; only what is written to the stream is visible at once.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, NoReturn

from typing_extensions import TypeVar

from fleet.records.events import Event
from fleet.workflow.errors import NoEvent, NotAvailableYet
from fleet.workflow.state import Overlay, View, context_prefix
from fleet.workflow.store import Store

#: Left out by most, who annotate `ctx: Context`; strict type checkers accept that with a default.
Model = TypeVar("Model", default=Any)
WriteToStream = Callable[[Event], Awaitable[None]]

_LATER = {
    "collect_events": "send one event that carries what was collected",
    "wait_for_event": "end the run and start another with the answer",
    "memo": "make the expensive call in a step of its own: its result is kept",
    "sleep": "use asyncio.sleep, which starts anew after a crash",
}


class Context(Generic[Model]):
    """One attempt's view of its run."""

    def __init__(
        self,
        *,
        run_id: str,
        attempt: int,
        idempotency_key: str,
        state: View,
        write_to_stream: WriteToStream,
    ) -> None:
        #: The run's id, as its caller knows it.
        self.run_id = run_id
        #: Which attempt of the step this is, counted from 1.
        self.attempt = attempt
        #: The same for every attempt of this step on this event, crashes included: give it to
        #: services that can recognise a repeated call.
        self.idempotency_key = idempotency_key
        #: Changes of the run's context, in effect once the step's result is.
        self.changes = Overlay(state)
        #: The run's values by dotted path.
        self.store = Store(self.changes, context_prefix(run_id))
        #: Events sent beside the returned one, each with the step it is meant for, or None.
        self.sent: list[tuple[Event, str | None]] = []
        self._write_to_stream = write_to_stream

    def send_event(self, event: Event, step: str | None = None) -> None:
        """Send *event* when the step has succeeded, to all accepting steps or only to *step*."""
        if not isinstance(event, Event):
            raise NoEvent(event)
        self.sent.append((event, step))

    def write_event_to_stream(self, event: Event) -> Awaitable[None]:
        """Show *event* to whoever follows the run, at once.

        It need not be awaited: the step's result is not committed before it is written.
        """
        return self._write_to_stream(event)

    def __getattr__(self, name: str) -> NoReturn:
        if name in _LATER:
            raise NotAvailableYet(f"ctx.{name}", _LATER[name])
        raise AttributeError(f"a Context has no attribute {name!r}")
