"""The guards of recorded calls."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from fleet.engine.context.calls import AttemptCalls, RecordedCalls
from fleet.engine.transitions import journal, refused, suspended
from fleet.engine.transitions.refused import Result
from fleet.records import state
from fleet.records.state import Overlay
from fleet.workflow.recorded import memo, values
from simulation.mutations.registry import instead_of


@instead_of(journal, "read", near=71)
def _a_repeated_attempt_makes_its_calls_again(_view: Any, _work: Any, _call: Any) -> None:
    """Say that nothing is recorded."""


@instead_of(RecordedCalls, "record", near=71)
def _a_call_returns_before_its_commit(
    self: Any, work: Any, call: Any, value: bytes
) -> Awaitable[None]:
    journal.put(self._ledger.open, work, call, value)
    self._own_commits.of(work, journal.name(call))
    return asyncio.sleep(0)


@instead_of(AttemptCalls, "turn", near=71)
@asynccontextmanager
async def _calls_of_one_key_are_made_at_once(_self: Any, _call: Any) -> AsyncIterator[None]:
    yield


@instead_of(journal, "settle", near=71)
def _calls_outlive_the_result(_part: Any, _work: Any, _calls: Any) -> None:
    """Leave them."""


@instead_of(journal, "_drop_set_aside", near=41129)
def _refused_answers_outlive_the_result(_part: Any, _work: Any) -> None:
    """Leave them."""


@instead_of(journal, "remove", near=71)
def _calls_outlive_their_run(_draft: Any, _run_id: str) -> None:
    """Leave them."""


@instead_of(journal, "put", near=71)
def _a_run_does_not_know_that_it_has_calls(draft: Any, work: Any, call: Any, value: bytes) -> None:
    refused.add(draft, Result(work, [], {journal.key(work, call): value}, call=journal.name(call)))


@instead_of(memo, "_made", near=260)
async def _a_call_is_made_without_its_intent(
    calls: Any, call: Any, function: Any, _reconcile: Any, *, intended: bool
) -> bytes:
    value = await memo._result(function)
    record = values.written(call.key, value, function)
    await calls.record(call, record)
    return record


_await_resume = suspended.await_resume


@instead_of(suspended, "await_resume", near=260)
def _calls_go_with_the_end_of_an_epoch(changes: Overlay, run_id: str) -> None:
    changes.delete_all(state.calls_prefix(run_id))
    _await_resume(changes, run_id)
