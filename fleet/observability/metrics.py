"""
Every metric that a worker exports, in one place.

Seconds and bytes are the units, and labels have few values: none is a run. The tasks' observer here
counts what happens. Gauges of the present state (`LAG_SECONDS` and the like) are read from the
engines at each scrape: see `gauges`.
"""

import logging
import platform
from collections.abc import Iterable
from importlib import metadata
from typing import NamedTuple

from prometheus_client import Counter, Gauge, Histogram

from fleet.config import logs
from fleet.engine.offsets import Lost
from fleet.engine.transitions.draft import Work
from fleet.engine.transitions.outcomes import Outcome, Returned, Suspends
from fleet.engine.transitions.recoveries import Caught
from fleet.engine.transitions.sizes import RecordTooLarge
from fleet.records.dead_letter import DeadLetter, Reason
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import RETRIED, Cancelled, Completed, Failed, StepRecord, TimedOut
from fleet.records.topics import Topics
from fleet.workflow.errors import StepTimeoutError

#: On every metric but the build's.
GROUP = ("workflow", "group")
#: From an instant step to an LLM call that takes minutes.
_STEP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
#: From a run of instant steps to one that waits for a person.
_RUN_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3_600, 14_400, 86_400)
_COMMIT_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_SIZE_BUCKETS = tuple(float(4**power) for power in range(5, 13))
_STALL_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)


#: How many lost offsets a log line names.
_MOST_OFFSETS = 20

#: Of a run.
OUTCOMES = tuple(end.kind for end in (Completed, Failed, Cancelled, TimedOut))
#: Why a local state is thrown away.
DISCARDED = ("corrupt", "outdated", "other_log")


class GaugeAtScrape(NamedTuple):
    """A gauge whose samples are made at each scrape."""

    name: str
    help: str
    #: Besides workflow and group.
    labels: tuple[str, ...] = ()


STEP_DURATION = Histogram(
    "fleet_step_duration_seconds",
    "How long an attempt of a step ran, by outcome (returned, raised, suspended).",
    (*GROUP, "step", "outcome"),
    buckets=_STEP_BUCKETS,
)
STEP_QUEUE_WAIT = Histogram(
    "fleet_step_queue_wait_seconds",
    "From an event's append in the broker to the start of the step's attempt, by outcome.",
    (*GROUP, "step", "outcome"),
    buckets=_STEP_BUCKETS,
)
STEP_ATTEMPTS = Counter(
    "fleet_step_attempts_total",
    "Attempts of steps, by how they ended (returned, suspended, failed, timed_out, too_large).",
    (*GROUP, "step", "reason"),
)
STEP_RETRIES = Counter(
    "fleet_step_retries_total",
    "Failed attempts of steps that are made again.",
    (*GROUP, "step"),
)
RUNS_STARTED = Counter("fleet_runs_started_total", "Runs that have begun.", GROUP)
RUNS = Counter(
    "fleet_runs_total",
    "Runs whose effective end was read, by outcome (completed, failed, cancelled, timed_out).",
    (*GROUP, "outcome"),
)
RUN_DURATION = Histogram(
    "fleet_run_duration_seconds",
    "From the append of a run's first event to that of its effective end, by outcome.",
    (*GROUP, "outcome"),
    buckets=_RUN_BUCKETS,
)
DEAD_LETTERS = Counter(
    "fleet_dead_letters_total",
    "Records and steps that failed, by reason.",
    (*GROUP, "reason"),
)
CAUGHT = Counter(
    "fleet_failures_caught_total",
    "Failures of steps that a handler (`@catch_error`) took, so that their runs went on.",
    GROUP,
)
RECORDS_LOST = Counter(
    "fleet_records_lost_total",
    "Records that retention removed before they were done, by input topic; an upper bound.",
    (*GROUP, "topic"),
)
ANSWERS_DROPPED = Counter(
    "fleet_answers_dropped_total",
    "Events from outside that no step took or waited for, and for which their run had no room.",
    GROUP,
)
CHILD_ENDS_DROPPED = Counter(
    "fleet_child_ends_dropped_total",
    "Ends of runs that no step awaited any more: most are of runs that ended with their parent.",
    GROUP,
)
STATE_DISCARDED = Counter(
    "fleet_state_discarded_total",
    "Local states that a worker discarded and loaded again, by reason: corrupt, outdated (the "
    "changelog may lack later deletions), other_log (its topic was deleted and created again).",
    (*GROUP, "reason"),
)
LOOP_BLOCKED = Counter(
    "fleet_event_loop_blocked_seconds_total",
    "For how long a step blocked the worker's event loop, by step; empty if it was no step.",
    (*GROUP, "step"),
)
COMMIT_DURATION = Histogram(
    "fleet_commit_duration_seconds",
    "How long a transaction took, from its first record to the broker's answer.",
    GROUP,
    buckets=_COMMIT_BUCKETS,
)
COMMIT_RECORDS = Histogram(
    "fleet_commit_records",
    "Records in a transaction: events, lifecycle, history, state changes.",
    GROUP,
    buckets=(1, 2, 5, 10, 25, 50, 100, 250, 1_000, 5_000),
)
COMMIT_BYTES = Histogram(
    "fleet_commit_bytes",
    "Size of the values in a transaction, in bytes.",
    GROUP,
    buckets=_SIZE_BUCKETS,
)
LOAD_DURATION = Histogram(
    "fleet_task_load_seconds",
    "How long a task took to load its state and read `runs` before it took records.",
    GROUP,
    buckets=_STALL_BUCKETS,
)
REBALANCES = Counter(
    "fleet_rebalances_total",
    "Rebalances of the consumer group that this worker took part in.",
    GROUP,
)
REBALANCE_STALL = Histogram(
    "fleet_rebalance_stall_seconds",
    "From the start of a rebalance until this worker took records of all its partitions.",
    GROUP,
    buckets=_STALL_BUCKETS,
)
BUILD = Gauge(
    "fleet_build_info",
    "Always 1; the labels name the versions that run here.",
    ("version", "python", "faust", "aiokafka"),
)

STEPS_IN_FLIGHT = GaugeAtScrape("fleet_steps_in_flight", "Attempts that are running.", ("step",))
STEPS_WAITING = GaugeAtScrape(
    "fleet_steps_waiting",
    "Steps that were delivered and wait: for num_workers, a slot or a place of their run.",
)
RUNS_QUEUED = GaugeAtScrape(
    "fleet_runs_queued", "Runs that wait for one of num_concurrent_runs places of this worker."
)
SLOTS = GaugeAtScrape("fleet_slots", "Steps that this worker may have in flight: FLEET_SLOTS.")
TASKS = GaugeAtScrape(
    "fleet_tasks", "Partitions that this worker has, by state (loading, running).", ("state",)
)
LOAD_REMAINING = GaugeAtScrape(
    "fleet_task_load_records_remaining",
    "Offsets of the changelog and of `runs` that a loading task still has to read.",
    ("partition",),
)
STATE_BYTES = GaugeAtScrape(
    "fleet_state_bytes",
    "Size of a task's local state, in bytes: RocksDB's estimate.",
    ("partition",),
)
LAG_RECORDS = GaugeAtScrape(
    "fleet_lag_records",
    "Records of an input partition that are not done, delivered or not.",
    ("topic", "partition"),
)
LAG_SECONDS = GaugeAtScrape(
    "fleet_lag_seconds",
    "Age of the oldest record of an input partition that is not done, in seconds; 0 without one.",
    ("topic", "partition"),
)
COMMITTABLE = GaugeAtScrape(
    "fleet_committable_offset",
    "Lowest offset of an input partition that is not done: the consumer group may commit it.",
    ("topic", "partition"),
)
AT_SCRAPE = (
    STEPS_IN_FLIGHT,
    STEPS_WAITING,
    RUNS_QUEUED,
    SLOTS,
    TASKS,
    LOAD_REMAINING,
    STATE_BYTES,
    LAG_RECORDS,
    LAG_SECONDS,
    COMMITTABLE,
)

BUILD.labels(
    metadata.version("fleet-workflows"),
    platform.python_version(),
    metadata.version("faust-streaming"),
    metadata.version("aiokafka"),
).set(1)

_log = logs.get_logger("steps")
_stdlib = logging.getLogger("fleet.steps")


class _Step(NamedTuple):
    """A step's metrics for one outcome; looking up labels costs more than observing."""

    duration: Histogram
    queue_wait: Histogram
    attempts: Counter
    #: The same for every outcome.
    retries: Counter


class Metrics:
    """The observer of a step group's tasks: it counts, and logs what needs attention."""

    def __init__(self, topics: Topics) -> None:
        self.labels = topics.workflow, topics.group
        # From 0 on: Prometheus cannot see a series rise that begins with 1.
        self._runs = {end: RUNS.labels(*self.labels, end) for end in OUTCOMES}
        self._run_duration = {end: RUN_DURATION.labels(*self.labels, end) for end in OUTCOMES}
        self._dead_letters = {why: DEAD_LETTERS.labels(*self.labels, why) for why in Reason}
        self._caught = CAUGHT.labels(*self.labels)
        self._steps: dict[tuple[str, str], _Step] = {}
        self._discarded = {why: STATE_DISCARDED.labels(*self.labels, why) for why in DISCARDED}
        self._answers_dropped = ANSWERS_DROPPED.labels(*self.labels)
        self._child_ends_dropped = CHILD_ENDS_DROPPED.labels(*self.labels)
        self._runs_started = RUNS_STARTED.labels(*self.labels)
        self._commit_duration = COMMIT_DURATION.labels(*self.labels)
        self._commit_records = COMMIT_RECORDS.labels(*self.labels)
        self._commit_bytes = COMMIT_BYTES.labels(*self.labels)

    def step_finished(self, work: Work, outcome: Outcome, step: StepRecord) -> None:
        """Observe an attempt."""
        reason, seconds = _reason(outcome), step.finished - step.started
        series = self._steps.get((step.step, reason)) or self._add(step.step, reason)
        series.duration.observe(seconds)
        # A little below 0 if this worker's idea of the broker's clock is young.
        series.queue_wait.observe(max(0.0, step.started - work.record.appended_ms / 1000))
        series.attempts.inc()
        if step.outcome == RETRIED:
            series.retries.inc()
        if not _stdlib.isEnabledFor(logging.DEBUG):
            return
        _log.debug(
            "step_finished",
            run_id=work.envelope.run_id,
            step=step.step,
            attempt=step.attempt,
            outcome=reason,
            seconds=round(seconds, 6),
        )

    def _add(self, name: str, reason: str) -> _Step:
        outcome = reason if reason in ("returned", "suspended") else "raised"
        step = self._steps[name, reason] = _Step(
            STEP_DURATION.labels(*self.labels, name, outcome),
            STEP_QUEUE_WAIT.labels(*self.labels, name, outcome),
            STEP_ATTEMPTS.labels(*self.labels, name, reason),
            STEP_RETRIES.labels(*self.labels, name),
        )
        return step

    def state_discarded(self, reason: str) -> None:
        """Count a local state that is discarded."""
        self._discarded[reason].inc()

    def run_started(self) -> None:
        """Count a run whose start was read in `runs`."""
        self._runs_started.inc()

    def run_ended(self, outcome: str, seconds: float) -> None:
        """Count a run that ended *seconds* after its first event."""
        self._runs[outcome].inc()
        # The broker's clock may have been set back in between.
        self._run_duration[outcome].observe(max(0.0, seconds))

    def dead_letter(self, run_id: str, letter: DeadLetter) -> None:
        """Count a dead letter, and log its origin; not its text, which may hold a prompt."""
        self._dead_letters[Reason(letter.reason)].inc()
        _log.warning(
            "dead_letter",
            reason=letter.reason,
            run_id=run_id,
            step=letter.step,
            attempt=letter.attempts,
            error=letter.failure.type,
            **_origin(letter),
        )

    def failure_caught(self, work: Work, caught: Caught) -> None:
        """Count a failure that a handler takes, and log it as a dead letter is."""
        self._caught.inc()
        _log.warning(
            "failure_caught",
            reason=caught.failure.reason,
            run_id=work.envelope.run_id,
            step=work.step.name,
            handler=caught.handler,
            attempt=work.attempt if caught.failure.attempts is None else caught.failure.attempts,
            error=type(caught.failure.error).__qualname__,
        )

    def committed(self, records: int, size: int, seconds: float) -> None:
        """Observe a transaction of *records* records, their values of *size* bytes in all."""
        self._commit_duration.observe(seconds)
        self._commit_records.observe(records)
        self._commit_bytes.observe(size)
        if _stdlib.isEnabledFor(logging.DEBUG):
            _log.debug("committed", records=records, bytes=size, seconds=round(seconds, 6))

    def reads(self, topics: Iterable[str]) -> None:
        """Begin the counters of lost records of these topics at 0."""
        for topic in topics:
            RECORDS_LOST.labels(*self.labels, topic)

    def records_lost(self, topic: str, partition: int, lost: Lost) -> None:
        """Count records that retention removed before they were done, and log their place."""
        RECORDS_LOST.labels(*self.labels, topic).inc(lost.records)
        _log.error(
            "records_lost",
            topic=topic,
            partition=partition,
            records_at_most=lost.records,
            unread=[f"{begin}-{end - 1}" for begin, end in lost.unread],
            unfinished=[str(offset) for offset in lost.pending[:_MOST_OFFSETS]],
            reason="retention removed them before they were processed; see docs/promise.md",
        )

    def answer_dropped(self, event: Envelope) -> None:
        """Count an event for which its run had no room or no step, and log its run."""
        if event.told:
            self._child_ends_dropped.inc()
            _log.info("child_end_dropped", run=event.run_id, told=event.told)
            return
        self._answers_dropped.inc()
        _log.warning(
            "answer_dropped",
            run=event.run_id,
            type=event.type,
            reason="its run keeps as many events as fit that no step waits for",
        )

    def runs_steps(self, names: Iterable[str]) -> None:
        """Begin the counters of how long these steps block the event loop at 0."""
        for name in ("", *names):
            LOOP_BLOCKED.labels(*self.labels, name)

    def loop_blocked(self, step: str, seconds: float) -> None:
        """Count that *step* blocked the event loop for *seconds*."""
        LOOP_BLOCKED.labels(*self.labels, step).inc(seconds)

    def loaded(self, seconds: float) -> None:
        """Observe how long a task took to load."""
        LOAD_DURATION.labels(*self.labels).observe(seconds)

    def rebalanced(self) -> None:
        """Count a rebalance."""
        REBALANCES.labels(*self.labels).inc()

    def served_again(self, seconds: float) -> None:
        """Observe how long some partitions were not served."""
        REBALANCE_STALL.labels(*self.labels).observe(seconds)


def _origin(letter: DeadLetter) -> dict[str, object]:
    """Return where the original is; a join has no record in a topic."""
    if letter.joined is not None:
        return {"joined": letter.joined}
    return {"topic": letter.topic, "partition": letter.partition, "offset": letter.offset}


def _reason(outcome: Outcome) -> str:
    if isinstance(outcome, Returned):
        return "returned"
    if isinstance(outcome, Suspends):
        return "suspended"
    if issubclass(type(outcome.error), StepTimeoutError):
        return "timed_out"
    return "too_large" if issubclass(type(outcome.error), RecordTooLarge) else "failed"
