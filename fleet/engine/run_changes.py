"""What happened to a run, as read in `runs`, takes effect: its start, its end, its resume."""

from fleet.engine.open_work import OpenWork
from fleet.engine.parts import Parts
from fleet.engine.timers.time_keeping import TimeKeeping
from fleet.engine.transitions import ends, lifecycle_records
from fleet.engine.transitions.draft import Due, Ended, RunResumed
from fleet.engine.transitions.suspended import Suspended
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import Completed, Lifecycle, Started
from fleet.records.log import Delivered

#: Suspended work, with the key of its entry.
Entry = tuple[bytes, Suspended]


class RunChanges:
    """Takes the records of `runs` of one task."""

    def __init__(self, parts: Parts, open_work: OpenWork, time_keeping: TimeKeeping) -> None:
        self._parts = parts
        self._open_work = open_work
        self._time_keeping = time_keeping

    def take(self, record: Delivered, envelope: Envelope, happening: Lifecycle) -> list[Entry]:
        """Let what happened to a run take effect; return the suspended work that runs now."""
        if isinstance(happening, Started):
            if not happening.queued:
                self._parts.observer.run_started()
            self._time_keeping.read(record.appended_ms)
        draft, topics = self._parts.draft, self._parts.topics
        match lifecycle_records.take(draft, topics, record, envelope, happening):
            case Ended() as ended:
                self._end(ended)
            case Due(run_id, deadline_ms):
                self._parts.deadlines.add(run_id, deadline_ms)
            case RunResumed() as resumed:
                return self._resume(resumed)
        return []

    def take_late(self, record: Delivered, envelope: Envelope, happening: Lifecycle) -> list[Entry]:
        """As `take`, of a record that was suspended: a result counts for its run's epoch now."""
        if isinstance(happening, Completed):
            ends.complete(self._parts.draft, self._parts.topics, record, envelope)
            return []
        return self.take(record, envelope, happening)

    def time_out(self, run_id: str) -> None:
        """Write that a run's deadline has passed."""
        active = self._parts.attempts.active_steps(run_id)
        ends.timed_out(self._parts.draft, self._parts.topics, run_id, active)
        self._parts.commits.now()

    def _end(self, ended: Ended) -> None:
        # At once and not after our commit: the end is in the log, so it is a fact.
        for work in self._parts.attempts.stop_run(ended.run_id):
            # The transition took care of what is suspended.
            if not work.suspended:
                self._open_work.suspend_or_drop(work)
        self._parts.suspects.ended(ended.run_id)
        self._parts.deadlines.drop(ended.run_id)
        self._parts.observer.run_ended(ended.outcome, ended.seconds)

    def _resume(self, resumed: RunResumed) -> list[Entry]:
        if resumed.deadline_ms:
            self._parts.deadlines.add(resumed.run_id, resumed.deadline_ms)
        # An operator waits for the answer.
        self._parts.commits.now()
        return resumed.suspended
