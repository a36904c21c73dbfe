"""
Joins of one task: they get their events, and fire.

What a join gets is part of the draft that takes the event. Whether a fan-out is done is asked after
each commit, by what is committed: see `transitions.scopes`.
"""

from collections.abc import Iterable

from fleet.config import logs
from fleet.engine.open_work import OpenWork
from fleet.engine.parts import Parts
from fleet.engine.transitions import failures, joins, scopes
from fleet.engine.transitions.draft import Work
from fleet.engine.transitions.failures import StepFailed
from fleet.engine.transitions.joins import Fired, Stray
from fleet.engine.transitions.scopes import Place
from fleet.engine.transitions.sizes import RecordTooLarge
from fleet.engine.transitions.versions import unknown_steps
from fleet.records.dead_letter import Reason

_log = logs.get_logger("joining")


class Joining:
    """The joins of one task."""

    def __init__(self, parts: Parts, open_work: OpenWork) -> None:
        self._parts = parts
        self._open_work = open_work

    def take(self, work: Work) -> Fired | None:
        """Let a join have the event of *work*; return the join if it fires with it."""
        parts, taken = self._parts, None
        try:
            taken = joins.take(parts.draft, parts.wiring, work)
        except RecordTooLarge as error:
            failure = StepFailed(error, Reason.TOO_LARGE, failed_ms=parts.clock.now_ms())
            failures.step_failed(parts.draft, parts.wiring, work, failure)
        self._open_work.close(work)
        if isinstance(taken, Stray):
            self._leave_out(work)
            return None
        return taken

    def _leave_out(self, work: Work) -> None:
        """Leave out an event that the join does not wait for; one of another version may."""
        parts = self._parts
        held = unknown_steps.hold_items(parts.draft, parts.wiring, work)
        for key, entry in held:
            unknown_steps.wait(parts.draft, key, entry, parts.until_known_ms)
        if not held:
            _say_stray(work)

    def due(self, places: Iterable[Place]) -> list[Fired]:
        """Return the joins that fire now that something of these fan-outs is committed."""
        parts = self._parts
        return [
            fired
            for place in sorted(places)
            for fired in joins.fire_due(
                parts.draft, parts.ledger.store, parts.wiring, place, round(parts.clock.now_ms())
            )
        ]

    def all_due(self) -> list[Fired]:
        """Return the joins that fire in a state that was loaded."""
        return self.due(scopes.open_scopes(self._parts.ledger))


def _say_stray(work: Work) -> None:
    _log.warning(
        "event_not_joined",
        run=work.envelope.run_id,
        type=work.envelope.type,
        step=work.step.name,
        reason="it is of no fan-out that the step waits for",
    )
