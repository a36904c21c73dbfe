"""Workflow: how its runs end, how long they take, and which of its steps it is."""

from grafana_foundation_sdk.models import units

from boards import page, queries
from boards.page import Page, Section
from boards.panels import PER_SECOND, Question, Series, heat, lines, stacked
from boards.queries import STEP, WORKFLOW

_STEP = "{{step}}"
_DURATION = "fleet_step_duration_seconds"
_WAIT = "fleet_step_queue_wait_seconds"
_RUN = "fleet_run_duration_seconds"

_RUNS = Section(
    "Runs",
    3,
    (
        lines(
            Question("Started and ended", "Do runs end as fast as they are started?", PER_SECOND),
            Series(queries.rate(WORKFLOW.of("fleet_runs_started_total"), "workflow"), "started"),
            Series(queries.rate(WORKFLOW.of("fleet_runs_total"), "workflow"), "ended"),
        ),
        stacked(
            Question("Outcomes", "How do runs end?", PER_SECOND),
            Series(queries.rate(WORKFLOW.of("fleet_runs_total"), "outcome"), "{{outcome}}"),
        ),
        lines(
            Question(
                "Failing runs",
                "Which share of the runs that end has failed or timed out?",
                units.PercentUnit,
            ),
            Series(queries.failing(WORKFLOW, "workflow"), "failing"),
        ),
        lines(
            Question(
                "Run duration",
                "How long does a caller wait, from the start event to the end, all waiting "
                "included?",
                units.Seconds,
            ),
            *(
                Series(queries.quantile(rank, WORKFLOW.of(f"{_RUN}_bucket")), name)
                for rank, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
            ),
        ),
        heat(
            Question("Run durations", "Are all runs alike, or are there two kinds?", units.Seconds),
            WORKFLOW.of(f"{_RUN}_bucket"),
        ),
        lines(
            Question(
                "Run duration by outcome",
                "Do failing runs end early, or after all their attempts? p95.",
                units.Seconds,
            ),
            Series(queries.quantile(0.95, WORKFLOW.of(f"{_RUN}_bucket"), "outcome"), "{{outcome}}"),
        ),
    ),
)

_LATENCY = Section(
    "Step latency",
    3,
    (
        heat(
            Question(
                "Step durations",
                "How are the attempts of the chosen steps spread? A slow one is a second band. "
                "An attempt is counted when it ends.",
                units.Seconds,
            ),
            STEP.of(f"{_DURATION}_bucket"),
        ),
        lines(
            Question(
                "Step duration, p95", "Which step is slow? 19 of 20 are faster.", units.Seconds
            ),
            Series(queries.quantile(0.95, STEP.of(f"{_DURATION}_bucket"), "step"), _STEP),
        ),
        lines(
            Question(
                "Step duration, p50 and p99",
                "Is a step slow for all, or for a few?",
                units.Seconds,
            ),
            Series(queries.quantile(0.5, STEP.of(f"{_DURATION}_bucket"), "step"), f"{_STEP} p50"),
            Series(queries.quantile(0.99, STEP.of(f"{_DURATION}_bucket"), "step"), f"{_STEP} p99"),
        ),
        lines(
            Question(
                "Step duration, mean",
                "What does a step cost on average? Without the rounding of the quantiles, which "
                "are between the bounds of buckets.",
                units.Seconds,
            ),
            Series(queries.mean(_DURATION, STEP, "step"), _STEP),
        ),
        lines(
            Question(
                "Queue wait, p50 and p95",
                "How long does an event lie in Kafka and in the worker before its step begins? "
                "Where it grows, more slots or workers help.",
                units.Seconds,
            ),
            Series(queries.quantile(0.5, STEP.of(f"{_WAIT}_bucket"), "step"), f"{_STEP} p50"),
            Series(queries.quantile(0.95, STEP.of(f"{_WAIT}_bucket"), "step"), f"{_STEP} p95"),
        ),
        heat(
            Question(
                "Queue waits", "Do all events wait, or those of some partitions?", units.Seconds
            ),
            STEP.of(f"{_WAIT}_bucket"),
        ),
    ),
)

_ATTEMPTS = Section(
    "Attempts",
    3,
    (
        lines(
            Question(
                "Steps in flight",
                "Which step is being worked on, and how often at once? It rises at once when a "
                "step hangs, before any duration is known.",
            ),
            Series(f"sum by (step) ({STEP.of('fleet_steps_in_flight')})", _STEP),
        ),
        lines(
            Question("Attempts by step", "How often is each step run?", PER_SECOND),
            Series(queries.rate(STEP.of("fleet_step_attempts_total"), "step"), _STEP),
        ),
        stacked(
            Question(
                "Attempts by reason",
                "How do attempts end? All but `returned` are work for nothing.",
                PER_SECOND,
            ),
            Series(
                queries.rate(STEP.of("fleet_step_attempts_total"), "step, reason"),
                f"{_STEP} {{{{reason}}}}",
            ),
        ),
    ),
)

_DEAD = Section(
    "Dead letters",
    1,
    (
        lines(
            Question(
                "Dead letters by reason",
                "Which events could not be processed? `fleet dead list` shows them with their "
                "errors.",
            ),
            Series(
                queries.gained(WORKFLOW.of("fleet_dead_letters_total"), "group, reason"),
                "{{group}} {{reason}}",
            ),
            Series(
                queries.gained(WORKFLOW.of("fleet_failures_caught_total"), "group"),
                "{{group}} caught, so no dead letter",
            ),
        ),
    ),
)


def build() -> Page:
    """Return the dashboard."""
    return Page(
        name="fleet-workflow",
        title="Fleet workflow",
        about="One workflow: its runs, and which of its steps takes the time or fails.",
        variables=(page.namespace(), page.job(), page.workflow(), page.groups(), page.steps()),
        sections=(_RUNS, _LATENCY, _ATTEMPTS, _DEAD),
    )
