"""What a step is given."""

from typing import Any

from fleet.engine.transitions.resolve import Resolver
from fleet.records.envelope import Envelope
from fleet.records.events import Event, decoded
from fleet.records.log import Delivered
from simulation.mutations.registry import instead_of


@instead_of(Resolver, "_decoded")
def _steps_that_take_one_event_share_it(
    self: Any, record: Delivered, envelope: Envelope, copies: int
) -> list[Event]:
    event = decoded(self.wiring.graph.types[envelope.type], record.value or b"")
    return [event] * copies
