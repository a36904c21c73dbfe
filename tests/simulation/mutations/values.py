"""What a step is given."""

from typing import Any

from fleet.engine.task import Task
from fleet.engine.transitions.transitions import Work
from fleet.records.envelope import Envelope
from fleet.records.events import decoded
from fleet.records.log import Delivered
from fleet.workflow.steps import Step
from simulation.mutations.registry import instead_of


@instead_of(Task, "_decoded")
def _steps_that_take_one_event_share_it(
    self: Any, record: Delivered, envelope: Envelope, steps: list[Step]
) -> list[Work]:
    try:
        event = decoded(self.step_group.graph.types[envelope.type], record.value or b"")
    except BaseException as undecodable:  # noqa: BLE001 - as the engine does it
        self._reject(record, envelope, "undecodable", undecodable)
        return []
    return [Work(record, envelope, event, each) for each in steps]
