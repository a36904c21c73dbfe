"""
Failures for tests: a step that fails when the test wants it to, and a worker that crashes.

The workflow under test stays as it is. So what is tested is its own retries, its handlers of
failures, and what it pays twice.
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fleet.api.in_memory import InMemory
from fleet.memory.runner import InProcess
from fleet.records.errors import FleetError
from fleet.workflow import definition, steps
from fleet.workflow.context import Context
from fleet.workflow.steps import Step
from fleet.workflow.workflow import Workflow, place_of

#: An error to raise, or its class.
Error = BaseException | type[BaseException]


class WorkerCrash(Exception):
    """Given to `fail_step`, it crashes the worker of the workflow at that place, in memory."""


class NoWorkerToCrash(FleetError):
    """Raised when a worker is to crash and the workflow has none in this event loop.

    What to do: Start a run in memory first. On Kafka, kill the worker's process.
    """

    def __init__(self, workflow: str) -> None:
        super().__init__(
            f"{workflow} has no worker in memory that could crash; start a run of an object "
            "without app= first, and on Kafka kill the worker's process"
        )


class NoStepToFail(FleetError):
    """Raised when a step is to fail that cannot.

    What to do: Name a step of the workflow. Crash the worker of a step that runs in a thread with
    `crash_worker`.
    """


async def crash_worker(workflow: Workflow) -> None:
    """Crash the worker of a workflow in memory; return when another has taken over.

    Steps in flight are stopped and run again, as after `kill -9`. What was committed stays.
    Raises NoWorkerToCrash.
    """
    await _worker(workflow).crash()


@dataclass
class StepFailures:
    """What `fail_step` has done so far."""

    #: How many times the step failed by it.
    count: int = 0


@contextmanager
def fail_step(  # noqa: PLR0913 - the rarer ones by name
    workflow: Workflow | type[Workflow],
    step: str,
    error: Error,
    *,
    attempts: int | Collection[int] = 1,
    when: Callable[..., bool] | None = None,
    after: bool = False,
) -> Iterator[StepFailures]:
    """Let a step raise *error* in a block.

    `with fail_step(flow, "fetch", OSError("down")): ...` is about the object under test; give its
    class, and it is about all objects. *attempts* counts from 1 how often the step begins for one
    event, also after a sleep, a wait and a crash: by default the first fails; `range(1, 4)` are
    three. *when* gets the step's event, or the events that it joins, and tells whether it is
    concerned. With *after* the step fails when its work is done and its result does not count yet;
    *attempts* counts how often that is. A WorkerCrash crashes the worker. Raises NoStepToFail.
    """
    found = _step(workflow, step, error)
    numbers = {attempts} if isinstance(attempts, int) else set(attempts)
    injection = _Injection(workflow, error, numbers, when, after=after)
    is_plain = not inspect.iscoroutinefunction(found.function)
    around = injection.around_plain if is_plain else injection.around
    placed = steps.AROUND.setdefault(found.function, [])
    placed.append(around)
    try:
        yield injection.failures
    finally:
        placed.remove(around)
        if not placed:
            del steps.AROUND[found.function]


def _step(workflow: Workflow | type[Workflow], name: str, error: Error) -> Step:
    kind = workflow if isinstance(workflow, type) else type(workflow)
    by_name = {step.shown: step for step in definition.graph(kind).steps}
    found = by_name.get(name)
    if found is None:
        raise NoStepToFail(f"{kind.__name__} has no step {name!r}; it has {', '.join(by_name)}")
    if _is_crash(error) and found.is_plain:
        raise NoStepToFail(f"{name} runs in a thread: call crash_worker(flow) in the test instead")
    return found


def _is_crash(error: Error) -> bool:
    return isinstance(error, WorkerCrash) or error is WorkerCrash


def _worker(workflow: object) -> InProcess:
    place = place_of(workflow) if isinstance(workflow, Workflow) else None
    worker = place.worker() if isinstance(place, InMemory) else None
    if worker is None:
        raise NoWorkerToCrash(type(workflow).__name__)
    return worker


class _Injection:
    """One `fail_step`."""

    def __init__(
        self,
        workflow: Workflow | type[Workflow],
        error: Error,
        numbers: set[int],
        when: Callable[..., bool] | None,
        *,
        after: bool,
    ) -> None:
        self.failures = StepFailures()
        self._workflow = workflow
        self._error = error
        self._numbers = numbers
        self._when = when
        self._after = after
        #: How often the step came to this place, by event.
        self._passed: Counter[str] = Counter()

    async def around(
        self, call: Callable[[], Any], workflow: object, context: Context, events: tuple[Any, ...]
    ) -> Any:
        """See `fleet.workflow.steps.Around`; for a coroutine function."""
        result = await call() if self._after else None
        if not self._strikes(workflow, context, events):
            return result if self._after else await call()
        if _is_crash(self._error):
            crashing = asyncio.ensure_future(_worker(workflow).crash())
            # The crash stops this step, and must not stop itself.
            await asyncio.shield(crashing)
        raise self._error

    def around_plain(
        self, call: Callable[[], Any], workflow: object, context: Context, events: tuple[Any, ...]
    ) -> Any:
        """See `fleet.workflow.steps.Around`; for a plain function."""
        result = call() if self._after else None
        if not self._strikes(workflow, context, events):
            return result if self._after else call()
        raise self._error

    def _strikes(self, workflow: object, context: Context, events: tuple[Any, ...]) -> bool:
        if workflow is not self._workflow and not self._is_of_class(workflow):
            return False
        if self._when is not None and not self._when(*events):
            return False
        self._passed[context.idempotency_key] += 1
        strikes = self._passed[context.idempotency_key] in self._numbers
        self.failures.count += strikes
        return strikes

    def _is_of_class(self, workflow: object) -> bool:
        return isinstance(self._workflow, type) and isinstance(workflow, self._workflow)
