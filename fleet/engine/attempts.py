"""
Steps in flight: who may run now, and what an attempt ends with.

Four limits hold: `num_concurrent_runs` and FLEET_SLOTS for the worker, `num_workers` for each run
and step, and the step's own timeout for each attempt. What waits for a limit holds no slot. Runs
take turns at the slots.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from fleet.config.current_step import CURRENT_CALLS, CURRENT_STEP, CurrentStep
from fleet.engine.activity import Activity
from fleet.engine.admission.concurrent_runs import ConcurrentRuns
from fleet.engine.admission.gate import Gate
from fleet.engine.admission.run_queues import Aside, Key, RunQueues
from fleet.engine.admission.slots import Line, Slots
from fleet.engine.clock import BrokerClock
from fleet.engine.context import children, pauses
from fleet.engine.context.calls import AttemptCalls
from fleet.engine.context.children import Places
from fleet.engine.context.own_commits import OwnCommits
from fleet.engine.context.showing import Showing, StreamWriter
from fleet.engine.resources.worker_resources import WorkerResources
from fleet.engine.step_threads import StepThread, StepThreads
from fleet.engine.transitions import joins, retries, runs
from fleet.engine.transitions.draft import Work
from fleet.engine.transitions.outcomes import Outcome, Raised, Returned, Sent, Suspends
from fleet.records import state
from fleet.records.calls import Call
from fleet.records.events import Event, decoded
from fleet.records.nested.child import Child
from fleet.records.state import View
from fleet.records.topics import Topics
from fleet.workflow import call_checks
from fleet.workflow.calling.children import ChildEnd, ChildRun, WaitsForItself
from fleet.workflow.context import Context, Surroundings, WriteToStream
from fleet.workflow.errors import StepTimeoutError
from fleet.workflow.graph import Graph
from fleet.workflow.suspending import Until
from fleet.workflow.thread_context import ThreadContext
from fleet.workflow.waiting import EventWait

#: An event from this size on, in bytes, is decoded again when its step begins, if that has to
#: wait for a slot: decoded it may take ten times the memory of its bytes.
LATE_DECODE_BYTES = 16 * 1024
_UNDECODED = Event()


class Settings(Protocol):
    """What the attempts of all tasks of a step group share."""

    @property
    def graph(self) -> Graph:
        """The steps, and the events between them."""
        ...

    @property
    def workflow(self) -> Callable[[], object]:
        """Gives the object whose methods the steps are."""
        ...

    @property
    def topics(self) -> Topics:
        """The topics, and the workflow's name."""
        ...

    @property
    def runs(self) -> ConcurrentRuns:
        """How many runs the worker may work on."""
        ...

    @property
    def slots(self) -> Slots:
        """How many steps the worker may have in flight."""
        ...

    @property
    def activity(self) -> Activity | None:
        """Says what the steps do; None: nothing does."""
        ...

    @property
    def threads(self) -> StepThreads:
        """Where its steps run that are plain functions."""
        ...

    @property
    def children(self) -> Places:
        """Where the workflows are that its steps run."""
        ...

    @property
    def resources(self) -> WorkerResources:
        """What its steps take beside events."""
        ...

    @property
    def stream(self) -> StreamWriter:
        """Writes what a step shows to its caller."""
        ...


class Owner(Protocol):
    """The task whose attempts they are."""

    def finished(self, attempt: "Attempt", outcome: Outcome) -> None:
        """Take what an attempt ended with; not called for one that was stopped."""
        ...

    def broken(self, failure: BaseException) -> None:
        """Take that the engine itself failed."""
        ...

    @property
    def own_commits(self) -> OwnCommits:
        """What its steps commit while they run."""
        ...


@dataclass(eq=False, slots=True)
class Attempt:
    """One step that runs or waits to."""

    work: Work
    #: A moment of the monotonic clock, as `started`.
    queued: float
    task: asyncio.Task[None] | None = None
    started: float = 0.0
    #: It was stopped: what it still does has no effect.
    stopped: bool = False
    #: What its event is decoded as when it begins; None if it is.
    decoded_as: type[Event] | None = None
    #: Of a step that is a plain function; its slot is free when that has ended.
    thread: StepThread | None = None
    #: What it shows while its step runs.
    showing: Showing = field(default_factory=Showing)
    #: Its recorded calls; None until it makes one.
    calls: AttemptCalls | None = None
    #: What its step waits for: the attempt is over, and what it still does has no effect.
    suspends: Until | None = None
    #: The runs that it awaits, by the call of each.
    children: dict[Call, Child] = field(default_factory=dict)


class Attempts:
    """The steps of one task."""

    def __init__(
        self,
        settings: Settings,
        view: View,
        clock: BrokerClock,
        gate: Gate,
        owner: Owner,
    ) -> None:
        self._settings = settings
        self._slots = settings.slots
        self._view = view
        self._clock = clock
        self._gate = gate
        self._owner = owner
        self._by_run: dict[str, dict[int, Attempt]] = {}
        self.queues: RunQueues[Attempt] = RunQueues(
            settings.graph.step_called,
            settings.runs,
            settings.slots.total,
            partial(runs.is_new, view),
        )
        #: What waits for a slot, by run.
        self._lines: dict[str, Line[Attempt]] = {}
        self._stopping = False

    def __len__(self) -> int:
        return sum(len(attempts) for attempts in self._by_run.values())

    def __iter__(self) -> Iterator[Attempt]:
        for attempts in self._by_run.values():
            yield from attempts.values()

    def add(self, work: Work) -> None:
        """Run a step as soon as the limits allow."""
        key = Key(work.envelope.run_id, work.step.name)
        queued = self.queues.since(work.suspended, self._clock.now())
        waits = self.queues.must_wait(key, work.record.appended_ms)
        if waits and work.suspended:
            self.queues.wait(key, Aside(work.suspended, queued))
            return
        attempt = Attempt(work, queued=queued)
        self._by_run.setdefault(key.run_id, {})[id(attempt)] = attempt
        if waits:
            self.queues.wait(key, attempt)
            _shed(attempt)
        else:
            self.line_up(key, attempt)

    def has(self, run_id: str) -> bool:
        """Tell whether steps of a run are in flight or wait."""
        return run_id in self._by_run or self.queues.has(run_id)

    def active_steps(self, run_id: str) -> set[str]:
        """Return the names of a run's steps that run now."""
        attempts = self._by_run.get(run_id, {}).values()
        return {attempt.work.step.shown for attempt in attempts if attempt.started}

    def stop_run(self, run_id: str) -> list[Work]:
        """Stop a run's steps and return what they worked on."""
        attempts = list(self._by_run.get(run_id, {}).values())
        self.queues.clear(run_id)
        for attempt in attempts:
            self._stop(attempt)
        self.queues.leave(run_id)
        return [attempt.work for attempt in attempts]

    @property
    def held_back(self) -> bool:
        """Whether no step may begin before a commit got through."""
        return self._gate.held_back

    def stop_admitting(self) -> None:
        """Let no attempt begin; what runs continues."""
        self._stopping = True
        self.queues.stop_admitting()
        for attempt in list(self):
            if not attempt.started:
                self._stop(attempt)

    async def wait(self, seconds: float) -> None:
        """Return when the steps that run now have ended, or after *seconds*."""
        running = [one.task for one in self if one.started and one.task is not None]
        if running:
            await asyncio.wait(running, timeout=seconds)

    def stop(self) -> None:
        """Stop every step."""
        self._stopping = True
        self.queues.stop_admitting()
        for attempt in list(self):
            self._stop(attempt)
        # Only now: what begins with the places finds none of these steps running.
        self.queues.close()

    # -- for what waits for its run -------------------------------------------------------------

    def line_up(self, key: Key, attempt: Attempt) -> None:
        """Let an attempt wait for a slot, unless it was stopped."""
        if attempt.stopped:
            return
        self.queues.begin(key)
        line = self._lines.get(key[0])
        if line is None:
            line = self._lines[key[0]] = Line(self, self._start)
        line.append(attempt)
        self._slots.wait(line)
        if attempt in line:
            _shed(attempt)

    # -- their lives ----------------------------------------------------------------------------

    def _start(self, attempt: Attempt) -> None:
        key = Key(attempt.work.envelope.run_id, attempt.work.step.name)
        self._drop_line(key.run_id)
        attempt.task = asyncio.create_task(self._run(attempt), name=f"step {key[1]}")
        # Not in the coroutine: one that is cancelled before it begins runs none of its own code.
        attempt.task.add_done_callback(lambda task: self._over(attempt, key, task))

    def _stop(self, attempt: Attempt) -> None:
        attempt.stopped = True
        # The partition's next owner shows events of its own. What the producer has cannot be taken
        # back, but it is not tried again while the broker is away.
        attempt.showing.stop()
        if attempt.task is not None:
            attempt.task.cancel()
        elif self._leave_line(attempt):
            self.queues.left(Key(attempt.work.envelope.run_id, attempt.work.step.name))
        self._remove(attempt)

    def _leave_line(self, attempt: Attempt) -> bool:
        """Let an attempt wait for a slot no more; tell whether it did."""
        run_id = attempt.work.envelope.run_id
        line = self._lines.get(run_id)
        if line is None or not line.remove(attempt):
            return False
        self._drop_line(run_id)
        return True

    def _drop_line(self, run_id: str) -> None:
        if not self._lines[run_id]:
            del self._lines[run_id]

    def _remove(self, attempt: Attempt) -> None:
        run_id = attempt.work.envelope.run_id
        attempts = self._by_run.get(run_id, {})
        attempts.pop(id(attempt), None)
        if attempts:
            return
        self._by_run.pop(run_id, None)
        # When all stop, each place is given away anyway, and the state may be what failed.
        counts = self._settings.runs.limit is not None and not self._stopping
        if counts and not self._has_begun(run_id):
            # An event of a run that may never be started must not keep a place.
            self.queues.leave(run_id)

    def _has_begun(self, run_id: str) -> bool:
        return self._view.get(state.run_key(run_id)) is not None

    def _over(self, attempt: Attempt, key: Key, task: asyncio.Task[None]) -> None:
        if attempt.thread is None or attempt.thread.ended.done():
            self._left(key)
        else:
            attempt.thread.ended.add_done_callback(lambda _: self._left(key))
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            self._owner.broken(failure)

    def _left(self, key: Key) -> None:
        self.queues.left(key)
        self._slots.give_back()

    async def _run(self, attempt: Attempt) -> None:
        outcome: Outcome
        # Here and no deeper: a GeneratorExit passes every coroutine but the task's outermost.
        try:
            permit = self._gate.permit(attempt.work)
            if permit is None:
                outcome = await self._result(attempt)
            else:
                async with permit:
                    outcome = await self._result(attempt)
        except BaseException as failure:
            # A cancellation, too, that we did not ask for: some libraries raise one when a
            # connection breaks, others cancel the task that called them.
            if not _is_running(attempt):
                # Its loop is gone, and Python clears up.
                raise
            outcome = Raised(failure)
        if attempt.suspends is not None:
            outcome = Suspends(attempt.suspends)
        if not attempt.stopped:
            # One that was not permitted has not begun.
            attempt.started = attempt.started or self._clock.now()
            self._remove(attempt)
            if self._settings.activity is not None:
                self._settings.activity.finished(attempt.work, outcome)
            self._owner.finished(attempt, outcome)

    async def _result(self, attempt: Attempt) -> Outcome:
        await self._gate.until_owned()
        CURRENT_STEP.set(CurrentStep(attempt.work.step.name, attempt.work.envelope.run_id))
        attempt.started = self._clock.now()
        if self._settings.activity is not None:
            self._settings.activity.started(attempt.work)
        context = self._context(attempt)
        if attempt.decoded_as is not None:
            _decode(attempt, attempt.decoded_as, self._settings.graph)
        returned = await self._returned(attempt, context)
        await attempt.showing.acknowledged()
        return _outcome(returned, context, attempt.calls)

    def _context(self, attempt: Attempt) -> Context:
        write = partial(attempt.showing.write, attempt, self._settings.stream, self._clock)
        work = attempt.work
        context: Context = Context(
            envelope=work.envelope,
            step=work.step.name,
            attempt=work.attempt,
            state=self._view,
            surroundings=self._surroundings(attempt, write),
        )
        return context

    def _surroundings(self, attempt: Attempt, write: WriteToStream) -> Surroundings:
        graph, work = self._settings.graph, attempt.work
        return Surroundings(
            write,
            partial(call_checks.target, graph, work.step.shown),
            self._settings.topics.workflow,
            graph.state_model,
            partial(self._owner.own_commits.editor, attempt),
            partial(retries.info, work, self._clock.at_ms(attempt.started)),
            partial(self.active_steps, work.envelope.run_id),
            partial(self._calls, attempt),
            partial(self._sleep, attempt),
            partial(self._wait, attempt),
            partial(self._run_child, attempt),
        )

    async def _sleep(self, attempt: Attempt, number: int, seconds: float) -> None:
        await pauses.sleep(attempt, self._calls(attempt), self._clock, number, seconds)

    async def _wait(self, attempt: Attempt, wait: EventWait) -> bytes:
        return await pauses.wait(attempt, self._calls(attempt), wait)

    async def _run_child(self, attempt: Attempt, run: ChildRun) -> ChildEnd:
        if run.name == self._settings.topics.workflow and self._settings.runs.limit is not None:
            raise WaitsForItself(run.name)
        runs, calls = self._owner.own_commits.child_runs, self._calls(attempt)
        return await children.run(attempt, calls, runs, self._settings.children, run)

    def _calls(self, attempt: Attempt) -> AttemptCalls:
        if attempt.calls is None:
            attempt.calls = self._owner.own_commits.calls(attempt)
        return attempt.calls

    async def _returned(self, attempt: Attempt, context: Context) -> Event | list[Event] | None:
        work = attempt.work
        if work.step.is_plain:
            attempt.thread = await self._settings.threads.begin()
        running = self._with_resources(attempt, context)
        seconds = work.step.options.timeout_seconds
        returned: Event | list[Event] | None = await (
            running if seconds is None else _within(seconds, work.step.shown, running)
        )
        work.step.check_returned(returned, has_sent=bool(context.sent))
        return returned

    async def _with_resources(
        self, attempt: Attempt, context: Context
    ) -> Event | list[Event] | None:
        call, needs = partial(self._called, attempt, context), attempt.work.step.resources
        try:
            if not needs:
                return await call({})
            return await self._settings.resources.around(needs, call, attempt.thread)
        finally:
            if attempt.thread is not None:
                attempt.thread.give_back()

    async def _called(
        self, attempt: Attempt, context: Context, resources: dict[str, Any]
    ) -> Event | list[Event] | None:
        """Return what the step returns."""
        step, thread = attempt.work.step, attempt.thread
        arguments = {**self._arguments(attempt.work), **resources}
        call = partial(step.bind, self._settings.workflow())
        CURRENT_CALLS.set(partial(self._calls, attempt))
        returned: Event | list[Event] | None
        try:
            if thread is None:
                returned = await call(context, arguments)
            else:
                of_thread = ThreadContext(inside=context, in_loop=thread.in_loop)
                thread.start(partial(call, of_thread, arguments), step.shown)
                returned = await thread.result()
        finally:
            # Else the attempt, its task and the task's variables would hold each other, and the
            # event with them, until Python looks for such circles.
            CURRENT_CALLS.set(None)
        return returned

    def _arguments(self, work: Work) -> dict[str, Any]:
        """Return what the step takes, by parameter."""
        if work.envelope.batch:
            return joins.arguments(self._view, self._settings.graph, work)
        return {work.step.slots[0].parameter: work.event}


def _outcome(
    returned: Event | list[Event] | None, context: Context, calls: AttemptCalls | None
) -> Returned:
    sent = [Sent(*event) for event in context.sent]
    several = returned if isinstance(returned, list) else [returned]
    sent += [Sent(event, returned=True) for event in several if event is not None]
    return Returned(
        tuple(sent),
        context.changes,
        fans_out=isinstance(returned, list),
        collected=context.collected,
        edits=context.edits,
        calls=calls.asked if calls is not None else (),
    )


def _shed(attempt: Attempt) -> None:
    """Keep only the bytes of a large event whose step waits for a slot."""
    work = attempt.work
    if len(work.record.value or b"") >= LATE_DECODE_BYTES and attempt.decoded_as is None:
        attempt.decoded_as = type(work.event)
        attempt.work = work._replace(event=_UNDECODED)


def _decode(attempt: Attempt, event_type: type[Event], graph: Graph) -> None:
    event = decoded(event_type, attempt.work.record.value or b"", graph.type_called)
    attempt.work, attempt.decoded_as = attempt.work._replace(event=event), None


def _is_running(attempt: Attempt) -> bool:
    try:
        return asyncio.current_task() is attempt.task
    except RuntimeError:
        return False


async def _within(seconds: float, step: str, attempt: Coroutine[Any, Any, Any]) -> Any:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await attempt
    except TimeoutError:
        if limit.expired():
            raise StepTimeoutError(step, seconds) from None
        raise
