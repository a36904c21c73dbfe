"""What a newer version has written, in the hands of an older one."""

from typing import Any

from fleet.engine.intake import Intake
from fleet.engine.transitions.suspended import Suspended
from fleet.records import lifecycle
from fleet.records.lifecycle import Lifecycle, UnknownKind, UnknownLifecycle
from simulation.mutations.registry import instead_of

_decode = lifecycle.decode


@instead_of(lifecycle, "decode", near=37)
def _a_newer_versions_record_is_a_dead_letter(kind: str, value: bytes) -> Lifecycle:
    try:
        return _decode(kind, value)
    except UnknownKind:
        raise UnknownLifecycle(kind, "unknown kind") from None


_run_suspended = Intake.run_suspended


@instead_of(Intake, "run_suspended", near=1236)
def _what_nobody_knows_is_forgotten_at_a_load(self: Any, key: bytes, entry: Suspended) -> None:
    if entry.topic == self._parts.topics.runs:
        self._parts.draft.state.delete(key)
    else:
        _run_suspended(self, key, entry)
