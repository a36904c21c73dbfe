"""
Every metric that a worker exports, in one place. Units are seconds; labels have few values.

They are kept per process; a task tells its observer what it did.
"""

import logging

from prometheus_client import Counter, Histogram

from fleet.records.log import Delivered
from fleet.records.topics import Topics
from fleet.runtime import logs
from fleet.runtime.flights import Flight, Outcome
from fleet.workflow.outcomes import Returned

_GROUP = ("workflow", "group")
#: From an instant step to an LLM call that takes minutes.
_STEP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

STEP_DURATION = Histogram(
    "fleet_step_duration_seconds",
    "How long an attempt of a step ran, by outcome (returned, raised).",
    (*_GROUP, "step", "outcome"),
    buckets=_STEP_BUCKETS,
)
RUNS = Counter(
    "fleet_runs_total",
    "Runs whose effective end was read, by outcome (completed, failed, cancelled, timed_out).",
    (*_GROUP, "outcome"),
)
DEAD_LETTERS = Counter(
    "fleet_dead_letters_total", "Records that could not be processed.", (*_GROUP, "reason")
)
COMMIT_DURATION = Histogram(
    "fleet_commit_duration_seconds",
    "How long a transaction took, from its first record to the broker's answer.",
    _GROUP,
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)

_log = logs.get_logger("steps")
_stdlib = logging.getLogger("fleet.steps")


class Metrics:
    """The observer of a step group's tasks: counts, and says what somebody should read."""

    def __init__(self, topics: Topics) -> None:
        self._labels = topics.workflow, topics.group
        self._commits = COMMIT_DURATION.labels(*self._labels)
        # Looked up once: a label look-up costs more than the observation.
        self._steps: dict[tuple[str, str], Histogram] = {}

    def step_finished(self, flight: Flight, outcome: Outcome, finished: float) -> None:
        """Observe an attempt's duration."""
        name = flight.work.step.name
        ended = "returned" if isinstance(outcome, Returned) else "raised"
        duration = self._steps.get((name, ended))
        if duration is None:
            duration = STEP_DURATION.labels(*self._labels, name, ended)
            self._steps[name, ended] = duration
        duration.observe(finished - flight.started)
        if not _stdlib.isEnabledFor(logging.DEBUG):
            return
        _log.debug(
            "step_finished",
            run_id=flight.work.envelope.run_id,
            step=name,
            attempt=1,
            outcome=ended,
            seconds=round(finished - flight.started, 6),
        )

    def run_ended(self, outcome: str) -> None:
        """Count a run."""
        RUNS.labels(*self._labels, outcome).inc()

    def dead_letter(
        self, record: Delivered, reason: str, error: BaseException, step: str = ""
    ) -> None:
        """Count a dead letter and log where it is; its text may hold a prompt, so not that."""
        DEAD_LETTERS.labels(*self._labels, reason).inc()
        _log.warning(
            "dead_letter",
            reason=reason,
            run_id=(record.key or b"").decode(errors="replace"),
            step=step,
            attempt=1,
            error=type(error).__qualname__,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
        )

    def committed(self, records: int, seconds: float) -> None:
        """Observe a commit's duration."""
        self._commits.observe(seconds)
        if _stdlib.isEnabledFor(logging.DEBUG):
            _log.debug("committed", records=records, seconds=round(seconds, 6))
