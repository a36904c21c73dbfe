"""Guards of groups whose members are of several versions of a workflow."""

import asyncio
from typing import Any
from unittest.mock import patch

from faust.assignor.partition_assignor import PartitionAssignor

from fleet.engine import step_group
from fleet.engine.transitions import runs, starts, suspending
from fleet.engine.transitions.resolve import Resolver
from fleet.engine.transitions.runs import Run
from fleet.host.assignment import Assignment
from fleet.host.assignor import Assignor
from fleet.records import state
from simulation.mutations.registry import instead_of


@instead_of(Assignment, "assign", near=48)
async def _a_partition_is_owned_with_any_of_its_topics(self: Any, assigned: Any) -> None:
    self._live.clear()
    if self._stopping:
        return
    self._assigned = True
    self._owned = [tp for tp in assigned if self._engines.owns(tp.topic)]
    owned = {tp.partition for tp in self._owned}
    await asyncio.gather(*(engine.assign(owned) for engine in self._engines))


@instead_of(Assignor, "_perform_assignment", near=23)
def _a_topic_is_assigned_to_those_that_read_it(self: Any, cluster: Any, members: Any) -> Any:
    return PartitionAssignor._perform_assignment(self, cluster, members)


@instead_of(Resolver, "_is_for_another_version", near=23)
def _what_another_version_knows_is_given_up(self: Any, record: Any, envelope: Any) -> bool:
    del self, record, envelope
    return False


_resolve_suspended = Resolver.resolve_suspended


@instead_of(Resolver, "resolve_suspended", near=23)
def _suspended_work_of_another_version_is_given_up(self: Any, *given: Any) -> Any:
    with patch.object(Resolver, "_is_for_another_version", lambda *_: False):
        return _resolve_suspended(self, *given)


@instead_of(suspending, "hold", near=23)
def _what_another_version_knows_is_dropped(*_: Any) -> None:
    """Nothing is kept."""


@instead_of(runs, "mark_held", near=23)
def _what_is_held_outlives_its_run(*_: Any) -> None:
    """Nothing is noted."""


@instead_of(starts, "_mark_seen", near=258)
def _what_is_seen_again_is_not_held(draft: Any, record: Any, envelope: Any) -> None:
    _mark_seen(draft, record, envelope)
    seen = Run(seen_ms=record.appended_ms, epoch=envelope.epoch)
    draft.state.put(state.seen_key(envelope.run_id), seen.encode())


_mark_seen = starts._mark_seen


@instead_of(step_group, "unread_topics", near=1379)
async def _ends_are_forgotten_before_another_version_has_read_all(
    *_: Any,
) -> frozenset[str]:
    return frozenset()


_assign_partitions = step_group.Engine._assign


@instead_of(step_group.Engine, "_assign", near=3724)
async def _steps_end_with_their_generation(self: Any, wanted: frozenset[int]) -> None:
    async with self._changing:
        await self._close_all(self.tasks.keys() | self.openings.keys())
    await _assign_partitions(self, wanted)
