"""
A task: one partition of one step group, from its load to its loss.

It owns the partition's state, its log and its steps in flight. `intake` takes records, `finishing`
takes what attempts end with; both decide into the ledger's open draft, and one loop commits that.
A task whose log is lost stops its steps and commits nothing more: the next owner of the partition
continues from the changelog.
"""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from fleet.config import settings
from fleet.engine.activity import Activity
from fleet.engine.admission.budget import Budgets
from fleet.engine.admission.concurrent_runs import ConcurrentRuns
from fleet.engine.admission.gate import Gate
from fleet.engine.admission.ownership import OwnershipCheck
from fleet.engine.admission.run_queues import Users
from fleet.engine.admission.slots import Slots
from fleet.engine.admission.suspects import Quarantine, Suspects
from fleet.engine.admission.uncommitted import Uncommitted
from fleet.engine.attempts import Attempt, Attempts
from fleet.engine.clock import BrokerClock
from fleet.engine.commits import Commits, Committed
from fleet.engine.context.children import Nowhere, Places
from fleet.engine.context.own_commits import OwnCommits
from fleet.engine.context.showing import StreamWriter
from fleet.engine.finishing import Finishing
from fleet.engine.inputs import Inputs
from fleet.engine.intake import Intake
from fleet.engine.joining import Joining
from fleet.engine.ledger import Ledger, StateStore
from fleet.engine.log import Log, RecordsRefused, TaskLost
from fleet.engine.observing import Guarded, Observer
from fleet.engine.open_work import OpenWork
from fleet.engine.parts import Parts
from fleet.engine.resources.worker_resources import WorkerResources
from fleet.engine.retention import Retention
from fleet.engine.run_changes import RunChanges
from fleet.engine.step_threads import StepThreads
from fleet.engine.timers.deadlines import Deadlines
from fleet.engine.timers.time_keeping import TimeKeeping
from fleet.engine.timers.waking import Waking
from fleet.engine.transitions import ends
from fleet.engine.transitions.draft import Draft, Wiring
from fleet.engine.transitions.outcomes import Outcome, Raised
from fleet.engine.transitions.resolve import Resolver
from fleet.records import state
from fleet.records.events import type_name
from fleet.records.topics import Topics
from fleet.workflow.failing.retrying import RetryPolicy
from fleet.workflow.graph import Graph

#: Delivered and not done, per input topic, before a task takes no more of it.
WINDOW_RECORDS = 10_000


@dataclass(frozen=True, slots=True)
class StepGroupSettings:
    """What every task of a step group shares."""

    graph: Graph
    topics: Topics
    #: Gives the object whose methods the steps are.
    workflow: Callable[[], object]
    slots: Slots
    stream: StreamWriter
    observer: Observer
    dedupe_days: float
    resume_days: float
    budgets: Budgets = field(default_factory=lambda: Budgets.of(settings.WINDOW_BYTES))
    #: In memory no other process can own a partition.
    ownership: OwnershipCheck = field(
        default_factory=lambda: OwnershipCheck(math.inf, time.monotonic)
    )
    #: How many runs the worker may work on.
    runs: ConcurrentRuns = field(default_factory=ConcurrentRuns)
    #: Says what its steps do; None: nothing does.
    activity: Activity | None = None
    #: Where its steps run that are plain functions.
    threads: StepThreads = field(default_factory=StepThreads)
    #: What its steps take beside events.
    resources: WorkerResources = field(default_factory=WorkerResources)
    #: In memory a state does not outlive its process.
    quarantine: Quarantine = field(default_factory=Quarantine)
    #: Where the workflows are that its steps run.
    children: Places = field(default_factory=Nowhere)
    #: How many partitions each topic has.
    partitions: Callable[[], int] = lambda: 1
    #: How many ended runs of each kind are remembered, however young they are; 0: all of them.
    most_ended: int = 0
    #: Of the steps that have none of their own; None: they are not tried again.
    retry_policy: RetryPolicy | None = None
    #: How long suspended work waits for a step that its worker does not have.
    unknown_step_hours: float = 1.0
    #: Whether what is appended is delivered in the next turn of the loop, as in memory.
    reads_at_once: bool = False
    #: Is called with the id of each ended run that is forgotten.
    forgotten: Callable[[str], object] = lambda _run_id: None
    #: A local clock that cannot be set, in seconds.
    monotonic: Callable[[], float] = time.monotonic

    @property
    def inputs(self) -> list[str]:
        """Names of the topics that the group reads."""
        return self.topics.consumed(self.graph.accepting)


class Task:
    """Runs the steps of one partition and commits what they give."""

    def __init__(
        self,
        step_group: StepGroupSettings,
        partition: int,
        log: Log,
        store: StateStore,
        lost: Callable[["Task", BaseException], None],
    ) -> None:
        self.step_group = step_group
        self.partition = partition
        self._log = log
        self._lost = lost
        topics = step_group.topics
        self.ledger = Ledger(store)
        self.clock = BrokerClock(step_group.monotonic, topics.runs)
        window, at_once = step_group.budgets.window.account(), step_group.reads_at_once
        self.inputs = Inputs(self.ledger, window, reads_at_once=at_once)
        self.trackers = self.inputs.trackers
        self.uncommitted = Uncommitted(self.ledger, step_group.budgets)
        self.commits = Commits(
            log, self.ledger, self._seal, self._committed, self._refused, self._all_in_log
        )
        self._suspects = Suspects(step_group.quarantine, partition, self.ledger, self.commits.now)
        self.own_commits = OwnCommits(self.ledger, self.commits, topics, self.clock)
        self.gate = Gate(self.uncommitted, step_group.ownership, self._suspects)
        self.attempts = Attempts(step_group, self.ledger, self.clock, self.gate, owner=self)
        self.queues = self.attempts.queues
        self.queues.serve(Users(self.attempts.line_up, self._take_up, self._admitted))
        self._deadlines = Deadlines(self.clock, self._time_out)
        self._waking = Waking(self.clock, self.ledger, self._wake, self._takes_more, self.broken)
        timers = self._deadlines, self._waking
        self._time_keeping = TimeKeeping(self.clock, topics.runs, timers, self.inputs)
        self._observer = Guarded(step_group.observer)
        wiring = Wiring(step_group.graph, topics)
        parts = self._parts(wiring)
        open_work = OpenWork(parts)
        self._changes = RunChanges(parts, open_work, self._time_keeping)
        self._finishing = Finishing(parts, open_work)
        resolver = Resolver(wiring, step_group.partitions)
        joining = Joining(parts, open_work)
        self.intake = Intake(parts, resolver, self._changes, joining, lambda: self._taking)
        self._retention = Retention(parts, self.gate, step_group)
        self._start_topic = topics.event(type_name(step_group.graph.start))
        self._loops: list[asyncio.Task[None]] = []
        self._alive = True
        self._taking = False

    def _parts(self, wiring: Wiring) -> Parts:
        return Parts(
            name=self.name,
            partition=self.partition,
            wiring=wiring,
            ledger=self.ledger,
            clock=self.clock,
            inputs=self.inputs,
            attempts=self.attempts,
            queues=self.queues,
            commits=self.commits,
            deadlines=self._deadlines,
            suspects=self._suspects,
            own_commits=self.own_commits,
            observer=self._observer,
            retry_policy=self.step_group.retry_policy,
            unknown_step_hours=self.step_group.unknown_step_hours,
        )

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    @property
    def name(self) -> str:
        """The engine id and the partition."""
        return f"{self.step_group.topics.engine_id}-{self.partition}"

    @property
    def alive(self) -> bool:
        """Whether the task may still commit."""
        return self._alive

    @property
    def taking(self) -> bool:
        """Whether the task is loaded and takes records."""
        return self._taking

    def takes(self, topic: str) -> bool:
        """Whether more records of *topic* are wanted now."""
        if not self._taking or self.uncommitted.full:
            return False
        # Nothing of `runs` stays open, and steps may wait for what it says.
        if topic != self.step_group.topics.runs and self.inputs.window.full:
            return False
        # Runs that have begun need no more starts; what they need may stand in the other topics.
        if topic == self._start_topic and not self.queues.takes_aside:
            return False
        tracker = self.trackers.get(topic)
        return tracker is None or tracker.pending < WINDOW_RECORDS

    # -- life ---------------------------------------------------------------------------------

    def restore(self) -> None:
        """Read positions and deadlines from the loaded state."""
        self.inputs.restore(self.step_group.inputs)
        self._suspects.restore()
        for due in ends.deadlines(self.ledger.committed(state.RUN)):
            self._deadlines.restore(due.run_id, due.deadline_ms)

    def begin(self) -> None:
        """Take records, run steps, commit."""
        self._taking = True
        self._loops = [
            asyncio.create_task(self._supervised(self.commits.run), name=f"commits {self.name}"),
            asyncio.create_task(
                self._supervised(self._retention.run), name=f"retention {self.name}"
            ),
        ]
        self._deadlines.start()
        self._waking.start()
        self._suspects.mark()
        self.intake.restore_runs()
        self.intake.restore_suspended()
        # What loading has found out, also if no record ever comes.
        self.commits.later()

    async def ask_time(self) -> int:
        """Return the broker's time, in unix milliseconds, of an append of ours; raises TaskLost.

        What is appended changes nothing: it deletes what is not there.
        """
        began = self.step_group.monotonic()
        receipt = await self._log.commit([], {state.NOTHING: None})
        self.clock.observe(receipt.times, self.step_group.monotonic() - began)
        return receipt.appended_ms

    async def drain(self, seconds: float) -> None:
        """Take nothing new, let running steps finish within *seconds*, commit what finished."""
        self._taking = False
        self._deadlines.stop()
        self._waking.stop()
        self.attempts.stop_admitting()
        await self.attempts.wait(seconds)
        # One that ended its process without a mark would not be counted.
        self.attempts.stop()
        await self.settle(0)

    async def settle(self, seconds: float) -> None:
        """Let running steps finish within *seconds* and commit; what waits stays waiting."""
        if not self._loops:
            # It did not begin. A mark in its state is of a process that died, and must stay.
            return
        await self.attempts.wait(seconds)
        self._suspects.unmark()
        await self.commits.finish()

    async def confirm(self) -> None:
        """Commit, so that a task whose partition another worker has had meanwhile learns it."""
        if self._taking:
            self.inputs.touch(self.step_group.topics.runs)
            self._suspects.mark()
            await self.commits.finish()

    async def close(self) -> None:
        """Stop everything; what was not committed runs again on the partition's next owner."""
        self._stop()
        try:
            await asyncio.gather(*self._loops, return_exceptions=True)
            await self._log.close()
        finally:
            self._suspects.close()
            # Whatever happens there: the partition's next owner wants the folder.
            self.ledger.store.close()

    def broken(self, failure: BaseException) -> None:
        """Give up: something failed that cannot fail, so the task must not look alive."""
        self._lose(failure)

    def _lose(self, reason: BaseException) -> None:
        if self._alive:
            self._stop()
            self._lost(self, reason)

    def _stop(self) -> None:
        self._alive = self._taking = False
        self._deadlines.stop()
        self._waking.stop()
        self.attempts.stop()
        self.inputs.window.close()
        self.uncommitted.close()
        self.step_group.slots.hand_out()
        for loop in self._loops:
            # What is decided and not committed may be half of something.
            loop.cancel()

    async def _supervised(self, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await loop()
        except TaskLost as lost:
            self._lose(lost)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the task must not look alive
            self._lose(failure)

    # -- what its parts tell ------------------------------------------------------------------

    def finished(self, attempt: Attempt, outcome: Outcome) -> None:
        """Take what an attempt ended with."""
        if self._alive and not self._is_ending(outcome):
            self._finishing.finished(attempt, outcome)

    def _take_up(self, entry: bytes) -> None:
        """Run work that was set aside."""
        self._guarded(lambda: self.intake.take_up(entry))

    def _wake(self, due: bytes) -> bool:
        """Run suspended work whose time has come; tell whether it is too early."""
        return self.intake.wake(due)

    def _takes_more(self) -> bool:
        # What waits for its run counts not: the run may wait for what is woken.
        return not self.uncommitted.full and self.queues.begun < self.step_group.slots.total

    def _admitted(self, run_id: str) -> None:
        """Let a run begin that has waited for a place."""
        self._guarded(lambda: self.intake.admit(run_id))

    def _guarded(self, work: Callable[[], None]) -> None:
        # Another task may have made room, and is not to bear what fails here.
        try:
            work()
        except Exception as failure:  # noqa: BLE001 - as any other failure of the engine
            self.broken(failure)

    def _is_ending(self, outcome: Outcome) -> bool:
        """Tell whether a step was cancelled with all tasks of the loop: the process ends."""
        if not isinstance(outcome, Raised) or type(outcome.error) is not asyncio.CancelledError:
            return False
        # One of them may be cancelled for a moment: that is how a timeout works.
        return all(loop.cancelling() for loop in self._loops)

    def _time_out(self, run_id: str) -> None:
        try:
            self._changes.time_out(run_id)
        except Exception as failure:  # noqa: BLE001 - a timer has no caller to raise to
            self.broken(failure)

    def _seal(self) -> Mapping[bytes, bytes]:
        """Return the positions for the draft that is sealed next."""
        self._suspects.sealed()
        self.own_commits.sealed()
        self._deadlines.sealed()
        return self.inputs.positions()

    def _all_in_log(self) -> None:
        """Let go on what waits for a commit that was under way when it asked."""
        self.own_commits.committed()

    def _committed(self, commit: Committed) -> None:
        self._time_keeping.committed(commit)
        self._deadlines.committed()
        self._suspects.committed(self.clock.now_ms())
        self.own_commits.committed()
        self.inputs.committed()
        self.uncommitted.count()
        self._waking.committed(commit.draft)
        if self._taking and commit.draft.scopes:
            self.intake.fire_joins(commit.draft.scopes)
        # Also of other tasks: what this one held is theirs now.
        self.step_group.slots.hand_out()
        self._observer.committed(commit.records, commit.size, commit.seconds)
        for run_id, letter in commit.draft.letters:
            self._observer.dead_letter(run_id, letter)
        for result in commit.draft.results:
            if result.caught is not None:
                self._observer.failure_caught(result.work, result.caught)

    def _refused(self, draft: Draft, found: RecordsRefused) -> None:
        self._finishing.refused(draft, found)
