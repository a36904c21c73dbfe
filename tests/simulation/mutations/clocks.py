"""Whose clock decides when runs end."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from fleet.engine.clock import BrokerClock
from fleet.engine.step_group import Engine
from fleet.engine.task import Task
from fleet.engine.timers.deadlines import Deadlines
from fleet.kafka import loading
from simulation.mutations.registry import instead_of

_outdated = loading._outdated
_init, _observe = BrokerClock.__init__, BrokerClock.observe


@instead_of(BrokerClock, "__init__", near=119)
def _time_passes_by_the_workers_clock(self: Any, _monotonic: Any, reference: str) -> None:
    _init(self, time.time, reference)


@instead_of(BrokerClock, "observe", near=677)
def _any_brokers_clock_will_do(self: Any, times: Mapping[str, int], seconds: float) -> bool:
    return _observe(self, {self._reference: max(times.values(), default=0)}, seconds)


@instead_of(BrokerClock, "observe", near=16)
def _the_broker_is_heard_once(self: Any, times: Mapping[str, int], seconds: float) -> bool:
    return not self.known and _observe(self, times, seconds)


@instead_of(BrokerClock, "observe", near=3592)
def _a_clock_that_was_set_back_is_as_late_as_it_may_be(
    self: Any, times: Mapping[str, int], seconds: float
) -> bool:
    before, known = self._began_ms, self.known
    moved = _observe(self, times, seconds)
    if known and self._began_ms < before:
        self._began_ms = min(before, self._began_ms + seconds * 1000)
    return moved


@instead_of(BrokerClock, "not_told", near=2250)
def _a_commit_that_was_not_told_its_time_tells_nothing(self: Any, _seconds: float) -> bool:
    del self
    return False


@instead_of(BrokerClock, "read", near=2250)
def _what_is_read_tells_no_time(self: Any, _appended_ms: float) -> bool:
    del self
    return False


@instead_of(loading, "_outdated", near=206)
def _a_copy_from_the_future_is_young(store: Any, now_ms: int) -> str:
    return _outdated(store, max(now_ms, store.appended_ms))


@instead_of(Deadlines, "add", near=1741)
def _a_deadline_counts_before_its_commit(self: Any, run_id: str, deadline_ms: int) -> None:
    self.restore(run_id, deadline_ms)


@instead_of(Engine, "_tell_time", near=9)
async def _nobody_asks_what_time_it_is(self: Any, _task: Task) -> None:
    del self
    await asyncio.sleep(0)
