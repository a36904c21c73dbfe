"""
What asks for an answer, as a record of the stream.

The record goes with the commit of what asks: the result of a step, or the beginning of a wait. So a
reader sees a question once, however often a worker dies.
"""

from fleet.engine.transitions import sizes
from fleet.records.envelope import Envelope
from fleet.records.events import Event, InputRequiredEvent, type_name
from fleet.records.log import Outgoing
from fleet.records.topics import Topics


def is_question(event: Event) -> bool:
    """Tell whether what a step sends is shown to the caller."""
    return isinstance(event, InputRequiredEvent)


def record(topics: Topics, cause: Envelope, event: Event, value: bytes) -> Outgoing:
    """Return the stream record of a question; raise RecordTooLarge.

    The event id of *cause* is of this question alone.
    """
    name = type_name(event)
    envelope = Envelope(
        run_id=cause.run_id,
        # As if the question were an attempt that shows this alone: readers know a copy by that.
        event_id=f"{cause.event_id}-0",
        type=name,
        epoch=cause.epoch,
        parent_id=cause.event_id,
        step=cause.step,
    )
    shown = Outgoing(topics.stream, cause.run_id.encode(), value, envelope.headers())
    return sizes.checked(shown, name)
