"""The guards of the context and its edits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from fleet.client.context_reader import ContextReader
from fleet.engine.admission.commit_waits import CommitWaits
from fleet.engine.context.edits import Edits
from fleet.engine.context.turns import Turns
from fleet.engine.transitions import edits, final_context, runs
from fleet.engine.transitions.draft import lifecycle_record
from fleet.records.lifecycle import Completed
from fleet.records.log import Outgoing
from fleet.workflow.context_state.block import Block
from fleet.workflow.context_state.reader import Reader
from fleet.workflow.editing import Leaves
from fleet.workflow.store import Store
from simulation.mutations.registry import instead_of


@instead_of(edits, "replaced", near=93)
def _a_repeated_attempt_makes_its_edits_again(_view: Any, _work: Any, _number: int) -> None:
    """Say that the edit was not made."""


@instead_of(Store, "_block", near=93)
def _a_repeated_block_sees_its_own_edit(self: Any, _replaced: Any) -> Block:
    return Block(self._values, self._kind)


@instead_of(Turns, "turn", near=19)
@asynccontextmanager
async def _several_blocks_of_a_run_are_open(_self: Any, _run_id: str) -> AsyncIterator[None]:
    yield


@instead_of(Edits, "make", near=19)
def _a_block_ends_before_its_commit(
    self: Any, attempt: Any, number: int, edit: Any
) -> Awaitable[None]:
    edits.make(self._ledger.open, attempt.work, number, edit)
    self._own_commits.of(attempt.work, edits.name(number))
    return asyncio.sleep(0)


@instead_of(CommitWaits, "add", near=19)
def _a_block_waits_for_a_commit_that_was_under_way(self: Any) -> "asyncio.Future[None]":
    committed = asyncio.get_running_loop().create_future()
    self._sealed.append(committed)
    self._commit()
    return committed


@instead_of(runs, "mark_context", near=19)
def _a_run_does_not_know_that_it_has_a_context(_changes: Any, _run_id: str) -> None:
    """Leave nothing at the run."""


@instead_of(Edits, "replaced", near=5407)
async def _a_repeated_block_does_not_wait_for_the_edit(
    self: Any, attempt: Any, number: int
) -> Leaves | None:
    return edits.replaced(self._ledger, attempt.work, number)


@instead_of(edits, "settle", near=19)
def _notes_of_edits_outlive_the_result(_part: Any, _work: Any, _count: int) -> None:
    """Leave them."""


@instead_of(edits, "remove", near=19)
def _notes_of_edits_outlive_their_run(_draft: Any, _run_id: str) -> None:
    """Leave them."""


@instead_of(ContextReader, "read", near=101)
async def _a_completed_run_is_read_from_the_state(self: Any, handler: Any) -> Reader:
    found = await self._transport.read_run(handler.run_id)
    read: Reader = self._reader(handler.run_id, found.context)
    return read


@instead_of(final_context, "carried", near=75)
def _a_result_comes_without_its_context(
    _view: Any, wiring: Any, work: Any, event_id: str, result: Completed
) -> Outgoing:
    return lifecycle_record(wiring.topics, work.envelope, event_id, result)
