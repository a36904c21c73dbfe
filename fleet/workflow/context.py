"""
What a step may ask for besides its event.

A context belongs to one attempt. What it gathers (sent events, changed values) takes effect with
the step's result, all or nothing; only what is written to the stream is visible at once.
"""

import difflib
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, NoReturn

from typing_extensions import TypeVar

from fleet.records.envelope import Envelope, idempotency_key
from fleet.records.events import Event, StopEvent, encoded
from fleet.records.state import Overlay, View, context_prefix
from fleet.workflow.errors import NoEvent, NotAvailableYet
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
        envelope: Envelope,
        step: str,
        attempt: int,
        state: View,
        write_to_stream: WriteToStream,
    ) -> None:
        #: The run's id, as its caller knows it.
        self.run_id = envelope.run_id
        #: Which attempt of the step this is, counted from 1.
        self.attempt = attempt
        #: Events sent beside the returned one, each with the step it is meant for, or None, and
        #: what is written of it.
        self.sent: list[tuple[Event, str | None, bytes | None]] = []
        self._event_id = envelope.event_id
        self._step = step
        self._state = state
        self._write_to_stream = write_to_stream

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this step on this event, crashes included.

        Give it to services that can recognise a repeated call.
        """
        return idempotency_key(self._event_id, self._step)

    # What many steps never ask for is made when it is asked for.
    @cached_property
    def store(self) -> Store:
        """The run's values by dotted path."""
        return Store(Overlay(self._state), context_prefix(self.run_id))

    @property
    def changes(self) -> dict[bytes, bytes | None]:
        """What was set, by state key; None deletes. It takes effect with the step's result."""
        return self.store.changes() if "store" in self.__dict__ else {}

    def send_event(self, event: Event, step: str | None = None) -> None:
        """Send *event* when the step has succeeded, to all accepting steps or only to *step*.

        It is sent as it is now. Raises UnencodableEvent where it would not come back as it is.
        """
        _must_be_event(event, "send_event")
        # What a plain StopEvent may hold is the workflow's business; the others are written here,
        # in the user's own line.
        value = None if type(event) is StopEvent else encoded(event)
        self.sent.append((event, step, value))

    def write_event_to_stream(self, event: Event) -> Awaitable[None]:
        """Show *event* to whoever follows the run, at once.

        It need not be awaited: the step's result is not committed before it is written.
        """
        _must_be_event(event, "write_event_to_stream")
        return self._write_to_stream(event)

    if not TYPE_CHECKING:
        # Type checkers would take every name for one that is there, and stop at it.

        def __getattr__(self, name: str) -> NoReturn:
            if name in _LATER:
                raise NotAvailableYet(f"ctx.{name}", _LATER[name])
            known = [each for each in dir(type(self)) if not each.startswith("_")]
            near = difflib.get_close_matches(name, [*known, "run_id", "attempt"], n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise AttributeError(f"a Context has no attribute {name!r}{meant}", name=name, obj=self)


def _must_be_event(given: object, method: str) -> None:
    if not isinstance(given, Event):
        raise NoEvent(given, method)
