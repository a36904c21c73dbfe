"""Work that a task has begun, and how it is closed: in its input, or in its entry of the state."""

from fleet.engine.parts import Parts
from fleet.engine.transitions import runs, suspending
from fleet.engine.transitions.draft import Work
from fleet.engine.transitions.runs import Admission


class OpenWork:
    """Closes the work of one task."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def close(self, work: Work) -> None:
        """Note that a step is done with its event, or will not be run for it."""
        self._parts.suspects.done(work)
        if work.suspended:
            self._parts.draft.state.delete(work.suspended)
        else:
            self._parts.inputs.step_done(work.record, work.step.name)
        self._parts.commits.later()

    def suspend_or_drop(self, work: Work) -> None:
        """Close a step whose run ended; if the run can be resumed, the step waits for that."""
        ledger, envelope = self._parts.ledger, work.envelope
        end = runs.end_of(ledger, envelope.run_id)
        if runs.admit(end, envelope.epoch) is Admission.SUSPEND:
            suspending.suspend(self._parts.draft, self._parts.topics, work)
        self.close(work)
