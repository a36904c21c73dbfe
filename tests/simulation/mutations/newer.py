"""What a newer version has written, in the hands of an older one."""

from typing import Any

from fleet.engine.task import Task
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


@instead_of(Task, "_take_up_lifecycle", near=1046)
def _what_nobody_knows_is_forgotten_at_a_load(self: Any, key: bytes, *_: Any) -> None:
    self.ledger.open.state.delete(key)
