"""The guards of the engine that the first simulator saw."""

import asyncio
from typing import Any
from unittest.mock import patch

from aiokafka.errors import KafkaError

from fleet.client.follower import Follower
from fleet.engine.admission.ownership import OwnershipCheck
from fleet.engine.attempts import Attempts
from fleet.engine.commits import Commits, Committed
from fleet.engine.inputs import Inputs
from fleet.engine.intake import Intake
from fleet.engine.ledger import Ledger
from fleet.engine.log import Receipt, TaskLost
from fleet.engine.offsets import Delivery, OffsetTracker
from fleet.engine.open_work import OpenWork
from fleet.engine.retention import Retention
from fleet.engine.step_group import Engine
from fleet.engine.task import Task
from fleet.engine.transitions import ends, failures, runs, starts, suspended, suspending
from fleet.engine.transitions.draft import Draft
from fleet.engine.transitions.runs import Admission
from fleet.host.live_partitions import LivePartitions
from fleet.host.lost_tasks import LostTasks
from fleet.kafka import loading
from fleet.kafka.loading import KafkaLoader
from fleet.kafka.transactional_log import KafkaLog
from fleet.kafka.transactional_producer import TransactionalProducer
from fleet.records import state
from fleet.records.errors import FleetError
from fleet.records.lifecycle import Known
from fleet.records.state import Overlay
from simulation.mutations.registry import instead_of

# -- transactions ---------------------------------------------------------------------------------

_start_log, _transact = KafkaLog.start, TransactionalProducer.transact


@instead_of(KafkaLog, "start")
async def _the_predecessor_is_not_fenced(self: Any) -> None:
    wire = self._producer._producer
    if wire is None:
        # In a thread; there are enough without one.
        await _start_log(self)
        return
    known = wire.connection.broker.ids.get(wire.name)
    if known is None:
        await _start_log(self)
        return
    manager = wire._txn_manager
    manager.producer_id, manager.producer_epoch = known.number, known.epoch
    await asyncio.sleep(0)


@instead_of(TransactionalProducer, "transact")
async def _acknowledgements_are_not_looked_at(self: Any, batches: Any) -> Any:
    try:
        return await _transact(self, batches)
    except KafkaError:
        await self.end(commit=True)
        return []


_transaction = KafkaLog._transaction


@instead_of(KafkaLog, "_transaction")
async def _an_aborted_transaction_is_not_tried_again(self: Any, records: Any) -> Receipt:
    try:
        return await _transaction(self, records)
    except TaskLost:
        raise
    except FleetError:
        return Receipt(0, 0)


# -- positions ------------------------------------------------------------------------------------

_deliver, _decode = OffsetTracker.deliver, OffsetTracker.decode


@instead_of(OffsetTracker, "deliver")
def _what_is_delivered_twice_is_new(self: Any, offset: int) -> Delivery:
    self.next = max(self.next, offset + 1)
    self._pending[offset] = True
    return Delivery.NEW


@instead_of(OffsetTracker, "decode")
def _pending_offsets_are_forgotten(value: bytes) -> OffsetTracker:
    found = _decode(value)
    return OffsetTracker.restored(found.next, ())


@instead_of(OffsetTracker, "lowest")
def _the_frontier_is_what_was_delivered(self: Any) -> int:
    following: int = self.next
    return following


@instead_of(OffsetTracker, "unseen")
def _a_task_goes_on_behind_what_is_unfinished(self: Any) -> int:
    following: int = self.next
    return following


@instead_of(Inputs, "committed")
def _offsets_follow_what_is_not_committed(self: Any) -> None:
    for tracker in self.trackers.values():
        tracker.committed = tracker.lowest


@instead_of(Inputs, "positions")
def _positions_are_not_committed(self: Any) -> dict[bytes, bytes]:
    for tracker in self.trackers.values():
        tracker.dirty = False
        tracker.sealed = tracker.lowest
    return {}


@instead_of(Inputs, "marked")
def _marks_of_steps_are_not_read(self: Any, record: Any) -> frozenset[str]:
    del self, record
    return frozenset()


_step_done = Inputs.step_done


@instead_of(Inputs, "step_done", near=29)
def _steps_of_an_open_event_leave_no_mark(self: Any, record: Any, step: str) -> None:
    event = self._open[record.topic][record.offset]
    event.steps.discard(step)
    if not event.steps:
        self.close(record)


@instead_of(Inputs, "close")
def _marks_stay(self: Any, record: Any) -> None:
    event = self._open[record.topic].pop(record.offset)
    self.window.add(-event.size)
    self.done(record)


@instead_of(Inputs, "step_done", near=13)
def _marks_go_without_a_position(self: Any, record: Any, step: str) -> None:
    before = self.trackers[record.topic].dirty
    _step_done(self, record, step)
    if record.offset in self._open[record.topic]:
        self.trackers[record.topic].dirty = before


# -- commits and state ----------------------------------------------------------------------------

_seal = Ledger.seal


@instead_of(Ledger, "seal", near=29)
def _local_state_is_ahead_of_the_log(self: Any) -> Draft:
    sealed = _seal(self)
    self.store.write(sealed.state.changes, 0)
    return sealed


@instead_of(Ledger, "seal")
def _what_is_being_committed_is_not_seen(self: Any) -> Draft:
    sealed = _seal(self)
    self.open = Draft(Overlay(self.store))
    return sealed


@instead_of(Ledger, "settle", near=152)
def _the_local_copy_claims_more_than_it_has(self: Any, receipt: Receipt) -> None:
    self.store.write(self.sealed.state.changes, receipt.state_offset + 3, receipt.appended_ms)
    self.open.state.below = self.store
    self.sealed = None


@instead_of(loading, "_outdated", near=119)
def _old_local_copies_are_gone_on_with(_store: Any, _now_ms: int) -> str:
    return ""


@instead_of(Commits, "_commit")
async def _positions_are_taken_after_the_draft(self: Any) -> None:
    if not (self._ledger.open.records or self._ledger.open.state.changes):
        return
    draft = self._ledger.seal()
    await asyncio.sleep(0.003)
    draft.state.changes.update(self._positions())
    receipt = await self._log.commit(draft.records, draft.state.changes)
    self._ledger.settle(receipt)
    self._committed(Committed(receipt.times, len(draft.records), 0, 0.0, draft))


@instead_of(KafkaLoader, "load_state")
async def _the_changelog_is_not_read(self: Any, topic: str, store: Any, _ask: Any) -> int:
    del self, topic, store
    return 0


@instead_of(KafkaLoader, "read", near=32)
async def _runs_is_not_read_before_the_start(self: Any, topic: str, offset: int, take: Any) -> None:
    del self, topic, offset, take


# -- which records are taken ----------------------------------------------------------------------


@instead_of(LivePartitions, "starting")
def _a_task_is_not_sought_to(self: Any, assigned: Any) -> dict[Any, int]:
    tasks = {tp: self._engines.task(tp) for tp in assigned}
    self.begin(tp for tp, task in tasks.items() if task is not None and task.taking)
    return {}


# -- tasks ----------------------------------------------------------------------------------------


@instead_of(Engine, "assign")
async def _tasks_of_partitions_that_are_gone_stay(self: Any, partitions: Any) -> None:
    wanted = self._wanted = frozenset(partitions)
    opened = [
        self._open(each) for each in sorted(wanted - self.tasks.keys() - self.openings.keys())
    ]
    await asyncio.gather(*(each.tried.wait() for each in opened))


@instead_of(OwnershipCheck, "until_confirmed", near=951)
async def _whoever_wakes_up_begins_at_once(self: Any) -> None:
    del self


@instead_of(OwnershipCheck, "heartbeat", near=201)
def _nobody_notices_a_silence(self: Any) -> bool:
    del self
    return True


_begin_task = Task.begin


@instead_of(Task, "begin", near=1943)
def _a_task_that_is_loaded_through_a_silence_begins_at_once(self: Any) -> None:
    _begin_task(self)
    self.step_group.ownership.confirm(self.step_group.ownership.suspicions)


@instead_of(Task, "confirm")
async def _tasks_that_stay_do_not_look_who_owns_them(self: Any) -> None:
    del self


@instead_of(LostTasks, "reopen")
async def _lost_tasks_are_not_opened_anew(self: Any) -> None:
    del self


@instead_of(Task, "_lose")
def _a_lost_task_goes_on(self: Any, reason: BaseException) -> None:
    del self, reason


@instead_of(Attempts, "_stop", near=29)
def _steps_are_not_stopped(self: Any, attempt: Any) -> None:
    del self, attempt


@instead_of(Attempts, "_stop", near=33)
def _stopped_steps_finish(self: Any, attempt: Any) -> None:
    if attempt.task is not None:
        attempt.task.cancel()
    self._remove(attempt)


@instead_of(OpenWork, "suspend_or_drop")
def _steps_of_an_ended_run_are_dropped(self: Any, work: Any) -> None:
    self.close(work)


@instead_of(suspending, "suspend")
def _nothing_is_suspended(*_: Any) -> None:
    """Nothing is kept."""


_context = Attempts._context


@instead_of(Attempts, "_context")
def _a_result_does_not_wait_for_its_stream(self: Any, attempt: Any) -> Any:
    context, attempt.written = _context(self, attempt), []
    return context


# -- runs -----------------------------------------------------------------------------------------

_begin, _conclude = runs.begin, runs.conclude


@instead_of(runs, "admit")
def _events_of_ended_runs_are_run(end: Any, epoch: int) -> Admission:
    del end, epoch
    return Admission.RUN


@instead_of(runs, "begin")
def _a_repeated_start_begins_again(run: Any, end: Any, start: Any, position: int) -> Any:
    found = _begin(run, end, start, position)
    return runs._begun(run, start, position) if isinstance(found, runs.Repeated) else found


@instead_of(runs, "begin", near=28)
def _a_start_that_comes_again_is_a_repetition(run: Any, end: Any, start: Any, position: int) -> Any:
    found = _begin(run, end, start, position)
    if isinstance(found, runs.Redelivered):
        return runs.Repeated(answer=runs._answer(start, "", None, position))
    return found


@instead_of(runs, "begin")
def _an_ended_run_begins_again(run: Any, end: Any, start: Any, position: int) -> Any:
    del end
    return _begin(run, None, start, position)


_start = starts._start


@instead_of(starts, "_start")
def _nobody_is_told_that_a_run_is_known(
    draft: Draft, topics: Any, envelope: Any, start: Any
) -> None:
    if not isinstance(start, runs.Repeated):
        _start(draft, topics, envelope, start)


@instead_of(runs, "conclude")
def _a_later_end_counts(run: Any, end: Any, terminal: Any, place: Any) -> Any:
    del end
    return _conclude(run, None, terminal, place)


@instead_of(ends, "_remove")
def _ended_runs_keep_their_state(*_: Any) -> None:
    """Nothing is removed."""


@instead_of(starts, "_mark_seen")
def _runs_without_a_start_are_not_kept(*_: Any) -> None:
    """Nothing is kept."""


@instead_of(Inputs, "have_passed", near=51)
def _ends_are_forgotten_before_all_is_read(self: Any, time_ms: int) -> bool:
    del self, time_ms
    return True


_init_retention = Retention.__init__


@instead_of(Retention, "__init__")
def _ends_are_forgotten_at_once(self: Any, *given: Any) -> None:
    _init_retention(self, *given)
    self._kept_ms = dict.fromkeys(self._kept_ms, 0)


# -- resuming -------------------------------------------------------------------------------------

_step_failed, _run_suspended = failures.step_failed, Intake.run_suspended
_refusal, _go_on = runs.refusal, runs.resumed


@instead_of(Task, "begin", near=54)
def _suspended_work_is_not_restored(self: Any) -> None:
    def items(prefix: bytes) -> Any:
        return () if prefix == state.SUSPENDED else Ledger.items(self.ledger, prefix)

    with patch.object(self.ledger, "items", items):
        _begin_task(self)


@instead_of(Intake, "run_suspended")
def _suspended_work_is_not_kept_while_it_runs(self: Any, key: bytes, work: Any) -> None:
    _run_suspended(self, key, work)
    self._parts.draft.state.delete(key)


@instead_of(failures, "step_failed", near=47)
def _what_failed_is_not_kept(draft: Draft, topics: Any, work: Any, failure: Any) -> None:
    _step_failed(draft, topics, work, failure)
    envelope = work.envelope
    key = state.awaiting_key(envelope.run_id, envelope.event_id, work.step.name)
    draft.state.delete(key)


@instead_of(suspended, "await_resume", near=49)
def _suspended_work_goes_on_when_its_run_ends(changes: Any, run_id: str) -> None:
    del changes, run_id


@instead_of(runs, "in_epoch_of", near=176)
def _events_keep_their_epoch(run: Any, envelope: Any) -> Any:
    del run
    return envelope


@instead_of(ends, "_take_late", near=1236)
def _a_result_that_comes_too_late_is_dropped(*_: Any) -> None:
    """Nothing is kept."""


@instead_of(runs, "conclude", near=733)
def _ends_of_older_epochs_count(run: Any, end: Any, terminal: Any, place: Any) -> Any:
    return _conclude(run and run.model_copy(update={"epoch": 0}), end, terminal, place)


@instead_of(runs, "refusal")
def _a_run_that_goes_on_is_resumed(run: Any, end: Any, epoch: int) -> str:
    return _refusal(run, end, epoch) if end is not None else ""


@instead_of(runs, "resumed", near=57)
def _a_resumed_run_has_no_deadline(run: Any, epoch: int, appended_ms: int) -> Any:
    return _go_on(run, epoch, appended_ms).model_copy(update={"deadline_ms": 0})


# -- time -----------------------------------------------------------------------------------------


@instead_of(ends, "deadlines", near=60)
def _deadlines_are_not_restored(_view: Any) -> list[Any]:
    return []


# -- callers --------------------------------------------------------------------------------------

_take = Follower._follow


@instead_of(Follower, "_follow", near=76)
def _a_caller_takes_any_end(self: Any, waiting: Any, record: Any, envelope: Any) -> None:
    waiting.end_from = min(waiting.end_from, 0)
    _take(self, waiting, record, envelope)


@instead_of(Follower, "_look_back")
async def _a_caller_does_not_look_back(
    self: Any, waiting: Any, offset: int, *, is_end: bool
) -> None:
    del self, is_end
    waiting.held, waiting.end_from = None, offset
    await asyncio.sleep(0)


@instead_of(Follower, "_follow_started", near=37)
def _a_caller_looks_only_ahead(self: Any, waiting: Any, started: Any) -> None:
    del self
    waiting.answered = True
    waiting.end_from = started.read_from


@instead_of(Known, "__init__")
def _known_runs_tell_no_conflict(self: Any, **fields: Any) -> None:
    _init_known(self, **{**fields, "conflict": False})


_init_known = Known.__init__
