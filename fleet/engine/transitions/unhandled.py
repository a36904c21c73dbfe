"""
An event that no step accepts: it starts nothing, and the run's stream says so.

The record goes with the commit that takes the event's cause: the result of the step that sent it,
or its delivery from outside. So a reader sees it once, however often a worker dies.
"""

from collections.abc import Iterable

from fleet.records import envelope as envelopes
from fleet.records.envelope import Envelope
from fleet.records.events import UnhandledEvent, encoded, type_name
from fleet.records.log import Outgoing
from fleet.records.topics import Topics

_TYPE = type_name(UnhandledEvent)


def record(topics: Topics, event: Envelope, qualified_name: str, *, idle: bool) -> Outgoing:
    """Return the stream record of an event that no step accepts."""
    shown = UnhandledEvent(
        event_type=event.type,
        qualified_name=qualified_name,
        step_name=event.step or None,
        idle=idle,
    )
    envelope = Envelope(
        run_id=event.run_id,
        # As if the event were an attempt that shows this alone: readers know a copy by that.
        event_id=f"{event.event_id}-0",
        type=type_name(shown),
        epoch=event.epoch,
        parent_id=event.event_id,
        step=event.step,
    )
    return Outgoing(topics.stream, event.run_id.encode(), encoded(shown), envelope.headers())


def types(topics: Topics, records: Iterable[Outgoing]) -> list[str]:
    """Return the types of the events that stream records among *records* call unhandled."""
    shown = (record for record in records if record.topic == topics.stream)
    unhandled = (one for one in shown if envelopes.parse(one.headers).type == _TYPE)
    return [UnhandledEvent.model_validate_json(one.value or b"").event_type for one in unhandled]
