"""What a step shows, as a record of the stream topic."""

from fleet.engine.transitions import sizes
from fleet.engine.transitions.draft import Work
from fleet.records.envelope import Envelope
from fleet.records.events import Event, encoded, type_name
from fleet.records.log import Outgoing
from fleet.records.topics import Topics


def stream_record(
    topics: Topics, work: Work, attempt_id: str, number: int, event: Event
) -> Outgoing:
    """Return the record of the *number*-th event that an attempt shows.

    Raises RecordTooLarge, and what encoding the event raises: in the step, which can take it.
    """
    headers = Envelope(
        run_id=work.envelope.run_id,
        event_id=f"{attempt_id}-{number}",
        type=type_name(event),
        epoch=work.envelope.epoch,
        parent_id=work.envelope.event_id,
        step=work.step.name,
    ).headers()
    key = work.envelope.run_id.encode()
    return sizes.checked(Outgoing(topics.stream, key, encoded(event), headers))
