"""Resources of runs in memory: how often they are made, who shares them, when they are closed."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from tenacity import stop_after_attempt, wait_none

from fleet import (
    Context,
    Event,
    Resource,
    ResourceConfig,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowConfigurationError,
    retry_policy,
    step,
)
from fleet.config.current_step import CURRENT_CALLS, CURRENT_STEP
from fleet.engine.resources import kept, worker_resources
from fleet.engine.resources.worker_resources import WorkerResources
from fleet.workflow import signature
from fleet.workflow.errors import StepTimeoutError

#: What happened, in order.
told: list[str] = []
#: What factories do beside that, by name.
acts: dict[str, Callable[[], Any]] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    told.clear()
    acts.clear()


async def act(name: str) -> None:
    """Do what the test says at this point."""
    told.append(name)
    if name in acts and (waiting := acts[name]()) is not None:
        await waiting


async def get_pool() -> AsyncIterator[str]:
    await act("pool opens")
    try:
        yield "pool"
    finally:
        await act("pool closes")


@contextlib.asynccontextmanager
async def get_db(pool: Annotated[str, Resource(get_pool)]) -> AsyncIterator[str]:
    await act("db opens")
    try:
        yield f"db on {pool}"
    except BaseException as failure:
        told.append(f"db hears of {type(failure).__name__}")
        raise
    finally:
        await act("db closes")


Pool = Annotated[str, Resource(get_pool)]
Shared = Annotated[str, Resource(get_db)]
Own = Annotated[str, Resource(get_db, cache=False)]


class Limits(BaseModel):
    most: int


class Done(Event):
    """One branch has ended."""


class Twice(Workflow):
    """Two steps take the same."""

    @step
    async def first(self, ev: StartEvent, db: Shared) -> Done:
        told.append(f"first has {db}")
        return Done()

    @step
    async def second(self, ev: Done, db: Shared) -> StopEvent:
        return StopEvent(result=db)


class OfAttempts(Workflow):
    """Its step has a database of its own, and does what the test says."""

    @step(retry_policy=retry_policy(wait=wait_none(), stop=stop_after_attempt(2)))
    async def work(self, ctx: Context, ev: StartEvent, db: Own) -> StopEvent:
        await act("step works")
        if ev.get("sleeps"):
            await ctx.sleep(0.001)
        return StopEvent(result=db)


async def test_steps_and_runs_share_a_resource_until_the_workflow_goes() -> None:
    """It is closed before what it was made of."""
    made = Twice()
    assert [await made.run(), await made.run()] == ["db on pool"] * 2
    assert told == ["pool opens", "db opens", "first has db on pool", "first has db on pool"]

    closed = asyncio.Event()
    acts["pool closes"] = closed.set
    del made
    await asyncio.wait_for(closed.wait(), 10)
    assert told[-2:] == ["db closes", "pool closes"]


def test_the_end_of_the_loop_closes_it_too() -> None:
    """A workflow of a module outlives `asyncio.run`; each loop has resources of its own."""
    made = Twice()
    opens, closes = ["pool opens", "db opens"], ["db closes", "pool closes"]
    for _ in range(2):
        told.clear()
        asyncio.run(_run(made))
        assert told == [*opens, "first has db on pool", *closes]


async def _run(flow: Workflow, **fields: Any) -> Any:
    return await flow.run(**fields)


async def test_an_attempt_closes_its_own_before_the_run_goes_on() -> None:
    made = OfAttempts()
    assert await made.run() == "db on pool"
    assert told == ["pool opens", "db opens", "step works", "db closes"]


async def test_one_attempt_has_one_of_each() -> None:
    """Also if a step and a factory take the same."""

    def get_index(db: Own) -> str:
        return f"index of {db}"

    class Flow(Workflow):
        @step
        async def work(
            self, ev: StartEvent, db: Own, index: Annotated[str, Resource(get_index, cache=False)]
        ) -> StopEvent:
            return StopEvent(result=[db, index])

    assert await Flow().run() == ["db on pool", "index of db on pool"]
    assert told.count("db opens") == told.count("db closes") == 1


async def test_a_resource_has_its_own_of_what_is_not_shared() -> None:
    """For as long as it lives: that of an attempt would be closed under it."""

    def get_index(db: Own) -> str:
        return f"index of {db}"

    class Flow(Workflow):
        @step
        async def work(
            self, ev: StartEvent, index: Annotated[str, Resource(get_index)], db: Own
        ) -> StopEvent:
            return StopEvent(result=index)

    made = Flow()
    assert await made.run() == "index of db on pool"
    assert (told.count("db opens"), told.count("db closes")) == (2, 1)


async def test_a_failed_attempt_closes_its_own_and_the_next_has_another() -> None:
    """The factory hears of the failure, as in `async with`."""
    failures = iter([LookupError("once")])

    def fail() -> None:
        for failure in failures:
            raise failure

    acts["step works"] = fail
    assert await OfAttempts().run() == "db on pool"
    one = ["db opens", "step works"]
    assert told[1:8] == [*one, "db hears of LookupError", "db closes", *one, "db closes"]


async def test_a_suspended_attempt_closes_its_own() -> None:
    """It holds nothing while it sleeps."""
    assert await OfAttempts().run(sleeps=True) == "db on pool"
    one = ["db opens", "step works"]
    assert told[1:8] == [*one, "db hears of Suspend", "db closes", *one, "db closes"]


async def test_a_cancelled_attempt_closes_its_own() -> None:
    begun, closed = asyncio.Event(), asyncio.Event()

    def begin() -> Any:
        begun.set()
        return asyncio.Event().wait()

    acts["step works"] = begin
    acts["db closes"] = closed.set
    handler = OfAttempts().run()
    await begun.wait()
    await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    await asyncio.wait_for(closed.wait(), 10)
    assert told[-2:] == ["db hears of CancelledError", "db closes"]


async def test_an_error_while_closing_fails_the_step() -> None:
    """It belongs to the attempt: a transaction may be committed there."""
    acts["db closes"] = lambda: _raise(ConnectionError("not committed"))
    with pytest.raises(ConnectionError, match="not committed"):
        await OfAttempts().run()
    assert told.count("step works") == 2


async def test_an_error_while_closing_does_not_keep_the_others_open() -> None:
    """Of one attempt: the last made is closed first."""

    async def get_session(
        file: Annotated[str, Resource(get_file, cache=False)],
    ) -> AsyncIterator[str]:
        yield f"session on {file}"
        raise ConnectionError("not committed")

    hint = Annotated[str, Resource(get_session, cache=False)]
    with pytest.raises(ConnectionError, match="not committed"):
        await _used(WorkerResources(), hint)
    assert told == ["file opens", "file closes"]


async def test_the_error_of_the_step_counts_more_than_one_of_closing() -> None:
    acts["step works"] = lambda: _raise(LookupError("of the step"))
    acts["db closes"] = lambda: _raise(ConnectionError("of closing"))
    with pytest.raises(LookupError, match="of the step") as caught:
        await OfAttempts().run()
    assert any("Closing its resources failed, too" in note for note in caught.value.__notes__)


def _raise(error: BaseException) -> None:
    raise error


class Wide(Workflow):
    """Many attempts want the same at once."""

    @step
    async def begin(self, ev: StartEvent) -> list[Done]:
        return [Done() for _ in range(20)]

    @step(num_workers=20)
    async def work(self, ctx: Context, ev: Done, db: Shared) -> StopEvent | None:
        every = ctx.collect_events(ev, [Done] * 20)
        return StopEvent(result=db) if every else None


async def test_first_uses_at_once_call_the_factory_once() -> None:
    acts["db opens"] = lambda: asyncio.sleep(0)
    assert await Wide().run() == "db on pool"
    assert told.count("db opens") == told.count("pool opens") == 1


async def test_a_factory_that_raises_fails_the_step_and_is_called_again() -> None:
    """What it needed and nothing uses stays for the next attempt."""
    failures = iter([ConnectionError("refused")])

    def fail() -> None:
        for failure in failures:
            raise failure

    class Flow(Workflow):
        @step(retry_policy=retry_policy(wait=wait_none(), stop=stop_after_attempt(2)))
        async def work(self, ev: StartEvent, db: Shared) -> StopEvent:
            return StopEvent(result=db)

    acts["db opens"] = fail
    assert await Flow().run() == "db on pool"
    assert told == ["pool opens", "db opens", "db opens"]
    failures = iter([ConnectionError("refused")] * 2)
    with pytest.raises(ConnectionError, match="refused"):
        await Flow().run()


async def test_all_that_wait_for_a_factory_hear_that_it_failed() -> None:
    resources, gate = WorkerResources(), asyncio.Event()
    acts["pool opens"] = lambda: _after(gate, ConnectionError("refused"))
    waiting = [_used(resources) for _ in range(3)]
    tasks = [asyncio.create_task(one) for one in waiting]
    await _turns()
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in results] == [ConnectionError] * 3
    assert told == ["pool opens"]


async def _after(gate: asyncio.Event, error: BaseException | None = None) -> None:
    await gate.wait()
    if error is not None:
        raise error


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def _needs(hint: Any) -> Any:
    @step
    async def work(self: Any, ev: StartEvent, it: Any) -> StopEvent:
        return StopEvent()

    work.__annotations__["it"] = hint
    return signature.read(work, "work", {}).resources


async def _used(
    resources: WorkerResources, hint: Any = Pool, work: Callable[[], Any] = lambda: None
) -> Any:
    """Use a resource as an attempt does."""

    async def call(given: dict[str, Any]) -> Any:
        if (waiting := work()) is not None:
            await waiting
        return given["it"]

    return await resources.around(_needs(hint), call)


async def test_a_factory_that_nothing_waits_for_any_more_is_cancelled() -> None:
    """One that hangs must not keep the step from ever running: the next attempt begins again."""
    resources, never = WorkerResources(), asyncio.Event()
    acts["pool opens"] = lambda: _after(never)
    both = [asyncio.create_task(_used(resources)) for _ in range(2)]
    await _turns()
    both[0].cancel()
    await _turns()
    assert told == ["pool opens"]
    both[1].cancel()
    await asyncio.gather(*both, return_exceptions=True)
    acts.clear()
    assert await _used(resources) == "pool"
    assert told == ["pool opens", "pool opens"]
    await resources.close()


async def test_a_step_that_waits_for_a_factory_has_its_time_limit() -> None:
    class Flow(Workflow):
        @step(timeout=0.01)
        async def work(self, ev: StartEvent, pool: Pool) -> StopEvent:
            return StopEvent()

    acts["pool opens"] = lambda: asyncio.Event().wait()
    with pytest.raises(StepTimeoutError):
        await Flow().run()


async def test_the_stop_of_a_worker_waits_for_those_that_use_its_resources() -> None:
    resources, gate = WorkerResources(), asyncio.Event()
    using = asyncio.create_task(_used(resources, Shared, lambda: _after(gate)))
    await _turns()
    closing = asyncio.create_task(resources.close())
    await _turns()
    assert told == ["pool opens", "db opens"]
    gate.set()
    await closing
    assert told[2:] == ["db closes", "pool closes"]
    assert await using == "db on pool"
    with pytest.raises(asyncio.CancelledError):
        await _used(resources)


async def test_the_stop_of_a_worker_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever an attempt or a factory does."""
    monkeypatch.setattr(worker_resources, "CLOSE_SECONDS", 0.02)
    monkeypatch.setattr(kept, "UNUSED_SECONDS", 0.0)
    resources, never = WorkerResources(), asyncio.Event()
    using = asyncio.create_task(_used(resources, Shared, lambda: _after(never)))
    await _turns()
    acts["db closes"] = lambda: _after(never)
    await resources.close()
    assert told[-2:] == ["db closes", "pool closes"]
    never.set()
    await using


async def test_an_error_while_a_worker_closes_does_not_keep_the_others_open() -> None:
    resources = WorkerResources()
    await _used(resources, Shared)
    acts["db closes"] = lambda: _raise(ConnectionError("gone"))
    await resources.close()
    assert told[-2:] == ["db closes", "pool closes"]


async def test_a_task_makes_and_closes_a_shared_resource() -> None:
    """Clients with cancel scopes of their own refuse to be closed by another one."""
    tasks: list[Any] = []

    async def get_scoped() -> AsyncIterator[str]:
        async with asyncio.timeout(None):
            tasks.append(asyncio.current_task())
            yield "scoped"
            tasks.append(asyncio.current_task())

    resources = WorkerResources()
    hint = Annotated[str, Resource(get_scoped)]
    assert await _used(resources, hint) == "scoped"
    await resources.close()
    assert len(tasks) == 2
    assert tasks[0] is tasks[1] is not asyncio.current_task()


async def test_a_client_that_breaks_is_made_again() -> None:
    """Its cancel scope cancels the task that opened it."""
    tasks: list[asyncio.Task[Any]] = []

    async def get_client() -> AsyncIterator[int]:
        tasks.append(asyncio.current_task())  # type: ignore[arg-type]
        yield len(tasks)

    resources = WorkerResources()
    hint = Annotated[int, Resource(get_client)]
    assert [await _used(resources, hint), await _used(resources, hint)] == [1, 1]
    tasks[0].cancel()
    await _turns()
    assert await _used(resources, hint) == 2
    await resources.close()


COLOUR: ContextVar[str] = ContextVar("colour", default="none")


async def test_a_factory_runs_outside_of_the_step() -> None:
    """Its calls are not the step's recorded ones, and its log lines not those of a run."""
    seen: list[Any] = []

    def get_it() -> str:
        seen.append(CURRENT_CALLS.get())
        return "it"

    def get_shared() -> str:
        seen.append(CURRENT_STEP.get())
        return COLOUR.get()

    class Flow(Workflow):
        @step
        async def work(
            self,
            ev: StartEvent,
            it: Annotated[str, Resource(get_it, cache=False)],
            shared: Annotated[str, Resource(get_shared)],
        ) -> StopEvent:
            assert CURRENT_CALLS.get() is not None
            assert CURRENT_STEP.get() is not None
            return StopEvent(result=shared)

    COLOUR.set("red")
    assert await Flow().run() == "red"
    assert seen == [None, None]


class InThread(Workflow):
    """Its step is a plain function."""

    def __init__(self, body: Callable[[], object], **options: Any) -> None:
        super().__init__(**options)
        self.body = body

    @step(timeout=0.05)
    def work(self, ev: StartEvent, db: Own) -> StopEvent:
        told.append("step works")
        self.body()
        told.append("step has worked")
        return StopEvent(result=db)


async def test_a_thread_gets_resources() -> None:
    assert await InThread(lambda: None).run() == "db on pool"
    assert told == ["pool opens", "db opens", "step works", "step has worked", "db closes"]


async def test_a_thread_that_its_attempt_leaves_keeps_its_resources() -> None:
    """They are closed when it has ended, not under it."""
    gate, closed = threading.Event(), asyncio.Event()
    acts["db closes"] = closed.set
    made = InThread(gate.wait)
    with pytest.raises(StepTimeoutError):
        await made.run()
    assert told[-1] == "step works"
    gate.set()
    await asyncio.wait_for(closed.wait(), 10)
    assert told[-3:] == ["step has worked", "db hears of CancelledError", "db closes"]


async def test_a_thread_is_free_again_if_a_resource_of_its_step_fails() -> None:
    """Else a broken database would use up all threads of the worker."""
    acts["db opens"] = lambda: _raise(ConnectionError("refused"))
    made = InThread(lambda: None)
    for _ in range(40):
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(made.run(), 10)


def test_objects_that_are_context_managers_are_given_as_they_are() -> None:
    """A lock would be taken."""

    class Flow(Workflow):
        @step
        async def work(
            self, ev: StartEvent, lock: Annotated[Any, Resource(threading.Lock)]
        ) -> StopEvent:
            return StopEvent(result=lock.locked())

    assert Flow().run_sync() is False


def get_file() -> Iterator[str]:
    told.append("file opens")
    yield "file"
    told.append("file closes")


def test_plain_generators_are_closed_too() -> None:
    class Flow(Workflow):
        @step
        async def work(
            self,
            ev: StartEvent,
            file: Annotated[str, Resource(get_file)],
            own: Annotated[str, Resource(contextlib.contextmanager(get_file), cache=False)],
        ) -> StopEvent:
            return StopEvent(result=[file, own])

    assert Flow().run_sync() == ["file", "file"]
    assert told == ["file opens", "file opens", "file closes", "file closes"]


def get_greeting(limits: Annotated[Limits, ResourceConfig("no-such.json")], db: Shared) -> str:
    return f"{limits.most} {db}"


class Given(Workflow):
    """Takes what a test has no real one of."""

    @step
    async def work(
        self,
        ev: StartEvent,
        greeting: Annotated[str, Resource(get_greeting)],
        own: Own,
    ) -> StopEvent:
        return StopEvent(result=[greeting, own])


async def test_a_test_gives_values_in_the_place_of_factories_and_files() -> None:
    """Wherever they are needed; what is given is not made, not read and not closed."""
    made = Given(resources={get_db: "fake", Limits: Limits(most=2)})
    assert await made.run() == ["2 fake", "fake"]
    assert await Given(resources={get_greeting: "hello", get_db: "fake"}).run() == ["hello", "fake"]
    assert told == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {get_file: "x"},
            r"a value for get_file, which no step needs \(its resources: get_db",
        ),
        ([get_db], r"takes a dict, not list: write e.g. resources=\{get_db: FakeDatabase\(\)\}"),
    ],
    ids=["not needed", "no dict"],
)
def test_what_is_given_has_to_be_needed(given: Any, said: str) -> None:
    """Else a renamed factory would let a test call the real one."""
    with pytest.raises(WorkflowConfigurationError, match=said):
        Given(resources=given)
