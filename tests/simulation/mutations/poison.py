"""The boundaries around user code and foreign bytes, and what sets a crashing step aside."""

import asyncio
from typing import Any

from fleet.engine.admission import commit_waits
from fleet.engine.admission.places import Places
from fleet.engine.admission.suspects import CrashesWorker, Quarantine, Suspects, _Permit
from fleet.engine.attempts import Attempt, Attempts
from fleet.engine.commits import Commits
from fleet.engine.task import Task
from fleet.engine.transitions import refused
from fleet.engine.transitions.draft import Work
from fleet.engine.transitions.outcomes import Outcome, Raised
from fleet.engine.transitions.resolve import Rejected, Resolver
from fleet.engine.transitions.runs import Entrance
from fleet.records import partitions, state
from fleet.records.dead_letter import Reason
from fleet.records.envelope import Envelope
from fleet.records.events import UndecodableEvent
from fleet.records.log import Delivered
from simulation.mutations.registry import instead_of

_works = Resolver._works

# -- user code ------------------------------------------------------------------------------------


@instead_of(Attempts, "_run", near=37)
async def _only_what_is_expected_of_a_step_is_caught(self: Any, attempt: Attempt) -> None:
    try:
        outcome: Outcome = await self._result(attempt)
    except (Exception, asyncio.CancelledError, SystemExit) as failure:  # noqa: BLE001 - as it was
        outcome = Raised(failure)
    if not attempt.stopped:
        self._remove(attempt)
        self._owner.finished(attempt, outcome)


@instead_of(Attempts, "_run", near=53)
async def _a_step_that_cancels_itself_never_finishes(self: Any, attempt: Attempt) -> None:
    result = self._result

    async def tried() -> Outcome:
        try:
            found: Outcome = await result(attempt)
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            assert task is not None
            if not task.cancelling():
                return Raised(cancelled)
            attempt.stopped = True
            raise
        return found

    try:
        outcome = await tried()
    except BaseException as failure:  # noqa: BLE001 - as the real one
        outcome = Raised(failure)
    if not attempt.stopped:
        self._remove(attempt)
        self._owner.finished(attempt, outcome)


@instead_of(Task, "_is_ending", near=33)
def _a_timeout_of_the_commit_loop_looks_like_the_end(self: Any, _outcome: Outcome) -> bool:
    return any(loop.cancelling() for loop in self._loops)


@instead_of(Resolver, "_works", near=697)
def _validators_raise_what_they_should(
    self: Any, record: Delivered, envelope: Envelope, entrance: Entrance
) -> list[Work] | Rejected:
    steps = self._steps(envelope)
    if not steps:
        return _works(self, record, envelope, entrance)
    try:
        events = self._decoded(record, envelope, len(steps))
    except UndecodableEvent as undecodable:
        return Rejected(envelope, entrance, Reason.UNDECODABLE, undecodable)
    return [Work(record, envelope, *pair) for pair in zip(events, steps, strict=True)]


# -- what the broker refuses ----------------------------------------------------------------------


@instead_of(Commits, "_append", near=297)
async def _a_refused_record_stops_the_partition(self: Any, draft: Any) -> Any:
    return await self._log.commit(draft.records, draft.state.changes)


_remove = refused._remove


@instead_of(refused, "_remove", near=37)
def _a_refused_attempt_stays_in_the_history(draft: Any, result: Any) -> None:
    history, result.history = result.history, None
    _remove(draft, result)
    assert history is not None


# -- steps that end their process -----------------------------------------------------------------


_permit = Suspects.permit


@instead_of(Suspects, "counted", near=53)
async def _a_death_is_not_counted(_self: Any, _work: Work) -> None:
    await asyncio.sleep(0)


@instead_of(Suspects, "deaths", near=53)
def _every_death_is_the_first(_self: Any, _work: Work) -> int:
    return 0


@instead_of(Suspects, "permit", near=473)
def _the_mark_is_not_waited_for(self: Any, work: Work) -> Any:
    self._marked = True
    return _permit(self, work)


@instead_of(Suspects, "done", near=53)
def _counts_stay(_self: Any, _work: Work) -> None:
    """Nothing is forgotten."""


@instead_of(Suspects, "ended", near=153)
def _counts_outlive_their_run(_self: Any, _run_id: str) -> None:
    """Nothing is forgotten."""


_unmark = Suspects.unmark


@instead_of(Suspects, "unmark", near=457)
def _steps_begin_between_the_mark_and_its_return(self: Any) -> None:
    leaves, marked = self._leaves_mark, self._marked
    _unmark(self)
    self._leaves_mark, self._marked = leaves, marked


@instead_of(Suspects, "unmark", near=615)
def _a_death_is_forgotten_by_an_owner_that_stops_in_order(self: Any) -> None:
    _unmark(self)
    self._ledger.open.state.delete(state.RUNNING)


@instead_of(Task, "drain", near=4801)
async def _a_step_outlives_the_mark(self: Any, seconds: float) -> None:
    self._taking = False
    self._deadlines.stop()
    self.attempts.stop_admitting()
    await self.settle(seconds)


@instead_of(Suspects, "mark", near=342)
def _a_death_is_forgotten_with_the_log(self: Any) -> None:
    if self.quarantine.limit:
        self._ledger.open.state.put(state.RUNNING, self.quarantine.process)
        self._leaves_mark = True
        self._commit()


@instead_of(Places, "be_alone", near=149)
async def _others_run_beside_the_last_chance(self: Any) -> None:
    await self._last.acquire()


@instead_of(Suspects, "left", near=138)
def _a_last_chance_is_over_before_its_result_is_in_the_log(
    _self: Any, _work: Work, let_others: Any
) -> None:
    let_others()


@instead_of(Suspects, "close", near=138)
def _a_last_chance_is_over_when_its_log_is_lost(self: Any) -> None:
    self._closed = True
    commit_waits.wake(self._waits.unmet())


@instead_of(Quarantine, "gone", near=17829)
def _a_last_chance_of_a_partition_that_went_elsewhere_is_never_over(
    _self: Any, _partition: int
) -> None:
    """Nothing waits less."""


_settle = Task.settle


@instead_of(Task, "settle", near=12855)
async def _a_task_that_is_loaded_removes_the_mark_of_the_dead(self: Any, seconds: float) -> None:
    if self._loops:
        await _settle(self, seconds)
    else:
        self._suspects.unmark()


_restore = Suspects.restore


@instead_of(Suspects, "restore", near=53)
def _a_suspect_that_waits_is_taken_for_one_that_runs(self: Any) -> None:
    _restore(self)
    for deaths in self._deaths.values():
        for key, count in deaths.items():
            self._ledger.open.state.put(key, b"%d 1" % count)


@instead_of(_Permit, "__aenter__", near=53)
async def _suspects_run_together(self: Any) -> None:
    deaths = self._suspects.deaths(self._work)
    if deaths >= self._suspects.quarantine.limit:
        raise CrashesWorker(self._work.step.name, deaths)
    await self._suspects.counted(self._work)


@instead_of(partitions, "_is_from_outside")
def _a_start_is_taken_in_whatever_partition_it_is(_envelope: Envelope) -> bool:
    return False
