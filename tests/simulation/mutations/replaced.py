"""Guards against logs that are replaced or cut underneath the workers."""

import asyncio
from collections.abc import Mapping
from typing import Any

from fleet.engine import offsets
from fleet.engine.inputs import Inputs
from fleet.engine.intake import Intake
from fleet.engine.loading import log_check
from fleet.engine.loading.log_check import Found, InputCheck, Known
from fleet.engine.offsets import OffsetTracker
from fleet.engine.step_group import Engine
from fleet.engine.task import Task
from fleet.host import log_watch
from fleet.host.log_watch import LogWatch
from fleet.kafka import loading
from fleet.records.errors import FleetError
from fleet.records.position import Gaps
from simulation.mutations.registry import instead_of

_judge, _unusable = log_check.judge, loading._unusable
_replace_log = Inputs.replace_log


@instead_of(log_check, "judge", near=1897)
def _topics_are_known_by_their_names(
    topic: str, partition: int, known: Known, found: Found
) -> FleetError | None:
    return _judge(topic, partition, known._replace(log_id=""), found)


@instead_of(InputCheck, "_compare", near=344)
async def _the_last_record_is_not_compared(
    self: Any, _found: Mapping[str, Found]
) -> dict[str, FleetError]:
    del self
    await asyncio.sleep(0)
    return {}


@instead_of(LogWatch, "look", near=96)
async def _nobody_looks_at_the_logs_of_a_running_worker(self: Any) -> None:
    del self
    await asyncio.sleep(0)


@instead_of(log_watch, "judge", near=578)
def _a_running_worker_compares_state_topics_only(*_: object) -> None:
    return None


@instead_of(LogWatch, "_states", near=469)
def _a_running_worker_compares_inputs_only(self: Any) -> tuple[()]:
    del self
    return ()


@instead_of(Engine, "_lost_state", near=102)
async def _a_state_that_was_lost_is_a_new_one(self: Any, _task: Task) -> str:
    del self
    await asyncio.sleep(0)
    return ""


@instead_of(loading, "_unusable", near=679)
def _a_folder_of_another_topic_is_used(store: Any, _log_id: str, end: int) -> str:
    return _unusable(store, store.log_id, end)


@instead_of(Intake, "cut", near=226)
def _what_is_gone_is_waited_for(self: Any, _topic: str, _begin: int) -> None:
    del self


_note_log = InputCheck._note


@instead_of(InputCheck, "_note", near=23)
def _what_was_gone_before_the_group_is_lost(self: Any, topic: str, found: Found) -> None:
    tracker = self._tracker(topic)
    before = tracker.next
    _note_log(self, topic, found)
    tracker.next = before


@instead_of(OffsetTracker, "skipped", near=144)
def _what_was_skipped_is_no_record(self: Any, _begin: int) -> None:
    del self


@instead_of(OffsetTracker, "ask", near=144)
def _what_was_skipped_is_forgotten_when_the_beginning_is_asked_for(self: Any) -> None:
    self._gaps = ()


@instead_of(offsets, "_few", near=428)
def _what_was_read_between_two_gaps_was_skipped(gaps: Gaps) -> Gaps:
    return ((gaps[0][0], gaps[-1][1]),) if gaps else ()


@instead_of(OffsetTracker, "passed", near=144)
def _markers_are_taken_for_unread_records(self: Any, _position: int) -> None:
    del self


@instead_of(Inputs, "replace_log", near=740)
def _an_accepted_log_is_read_from_the_old_position(
    self: Any, topic: str, log_id: str, _begin: int
) -> None:
    self.trackers[topic].log_id = log_id
