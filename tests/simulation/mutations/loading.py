"""Opening, loading and reopening of tasks; local state that breaks."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from fleet.engine.loading.guarded_store import GuardedStore, StoreFailed
from fleet.engine.loading.opening import Opening
from fleet.engine.step_group import Engine
from fleet.host.progress import Progress
from fleet.kafka import stopping
from simulation.mutations.registry import instead_of

# -- readers --------------------------------------------------------------------------------------


@instead_of(stopping, "_stop", near=29)
async def _whoever_stops_a_reader_waits_for_it(stop: Callable[[], Awaitable[object]]) -> None:
    with contextlib.suppress(Exception):
        await stop()


_note = Opening._note


@instead_of(Opening, "_note", near=49)
def _a_broker_that_does_not_answer_ends_the_worker(self: Any, failure: Exception) -> None:
    if not isinstance(failure, StoreFailed):
        raise failure
    _note(self, failure)


@instead_of(Progress, "_loading", near=1361)
def _nobody_looks_whether_loads_get_on(self: Any) -> tuple[()]:
    del self
    return ()


@instead_of(Engine, "_check_owner", near=78)
async def _a_load_does_not_ask_whose_state_is_missed(self: Any, _task: Any) -> None:
    del self


# -- who may take an id ---------------------------------------------------------------------------

_init, _begin = Engine.__init__, Engine._begin


@instead_of(Opening, "_take_id", near=89)
async def _an_id_is_kept_that_is_not_wanted_any_more(self: Any) -> Any:
    log = self._site.backend.log(self.name, self.partition)
    await log.start()
    self.tried.set()
    return log


class _Open(asyncio.Lock):
    """A lock that holds nobody."""

    async def acquire(self) -> Any:
        return True

    def release(self) -> None:
        """Do nothing."""


@instead_of(Engine, "__init__", near=1286)
def _tasks_are_opened_and_closed_at_the_same_time(self: Any, *given: Any, **named: Any) -> None:
    _init(self, *given, **named)
    self._changing = _Open()


@instead_of(Engine, "_expect", near=1823)
def _ownership_is_certain_while_it_is_confirmed(self: Any, wanted: Any) -> None:
    self._wanted = wanted
    self._stop_admitting(self.tasks.keys() - wanted)


@instead_of(Engine, "_stop_admitting", near=3354)
def _what_waits_in_partitions_that_are_gone_begins(self: Any, gone: Any) -> None:
    del self, gone


@instead_of(Engine, "_begin", near=1943)
def _a_task_that_is_loaded_through_a_rebalance_begins_at_once(
    self: Any, task: Any, opened: Any
) -> None:
    opened.doubts = self.step_group.ownership.suspicions
    _begin(self, task, opened)


# -- local state ----------------------------------------------------------------------------------


@instead_of(GuardedStore, "_failed", near=581)
def _a_task_goes_on_whose_state_has_failed(self: Any, what: str, failure: Exception) -> StoreFailed:
    del self
    return StoreFailed(what, str(failure))


@instead_of(Opening, "_discard", near=30)
def _a_state_that_is_broken_is_kept(self: Any, reason: str) -> None:
    self._site.spoiled.discard(self.partition)
    if self._store is not None:
        self._store.close()
        self._store = None
    del reason


@instead_of(Opening, "_note")
def _a_state_that_is_broken_ends_the_worker(self: Any, failure: Exception) -> None:
    if isinstance(failure, StoreFailed):
        raise failure
    _note(self, failure)


@instead_of(Opening, "_let_go", near=137)
def _a_state_that_cannot_be_got_at_is_removed(self: Any, failure: StoreFailed) -> None:
    self._discard(str(failure))


@instead_of(Opening, "_spoil", near=137)
def _a_state_whose_disk_was_full_is_removed(self: Any, task: Any, failure: StoreFailed) -> None:
    self._site.spoiled.add(self.partition)
    task.broken(failure)
