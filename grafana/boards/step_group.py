"""Step group: why it is behind, and what its workers are busy with."""

from grafana_foundation_sdk.models import units

from boards import page, queries
from boards.page import Page, Section
from boards.panels import PER_SECOND, Question, Series, heat, lines, stacked
from boards.queries import FLEET, STEP_GROUP, WORKER

_PLACE = "topic, partition"
_BY_PLACE = "{{topic}} {{partition}}"
_BY_WORKER = "{{instance}}"
#: The process' own metrics have no workflow; its slots say whose it is.
_OF_GROUP = f"and on (job, instance) {WORKER.of('fleet_slots')}"
_CPU = FLEET.of("process_cpu_seconds_total", 'instance=~"$instance"')
_MEMORY = FLEET.of("process_resident_memory_bytes", 'instance=~"$instance"')
_RANKS = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))


_COMMITTABLE = STEP_GROUP.of("fleet_committable_offset")
_MOVED = queries.worst(f"deriv({_COMMITTABLE}[$__rate_interval])", _PLACE)


def _quantiles(histogram: str) -> list[Series]:
    buckets = WORKER.of(f"{histogram}_bucket")
    return [Series(queries.quantile(rank, buckets), name) for rank, name in _RANKS]


_LAG = Section(
    "Lag",
    2,
    (
        lines(
            Question(
                "Age of the oldest event",
                "Which partition is behind, in seconds? It grows by a second per second where "
                "nothing is done: a long step, a paused partition, no worker. 0 where all is done.",
                units.Seconds,
            ),
            Series(
                queries.worst(STEP_GROUP.of("fleet_lag_seconds"), _PLACE),
                _BY_PLACE,
            ),
        ),
        lines(
            Question(
                "Events not done",
                "How much is there to do, what is being worked on included? One partition alone "
                "is a run with very many events, or a worker that hangs.",
            ),
            Series(
                queries.worst(STEP_GROUP.of("fleet_lag_records"), _PLACE),
                _BY_PLACE,
            ),
        ),
        lines(
            Question("Committable offset", "Up to which offset is everything done?"),
            Series(
                queries.worst(_COMMITTABLE, _PLACE),
                _BY_PLACE,
            ),
        ),
        lines(
            Question(
                "Committable offset, moved per second",
                "Which offset stands still? With events not done, one event blocks it.",
                PER_SECOND,
            ),
            Series(f"clamp_min({_MOVED}, 0)", _BY_PLACE),
        ),
    ),
)

_SLOTS = Section(
    "Slots",
    3,
    (
        lines(
            Question(
                "Slots, in flight, waiting",
                "Is the group at its limit? When `in flight` meets `slots`, events wait. Queued "
                "runs wait for one of num_concurrent_runs.",
            ),
            Series(f"sum({WORKER.of('fleet_slots')})", "slots"),
            Series(f"sum({WORKER.of('fleet_steps_in_flight')})", "in flight"),
            Series(f"sum({WORKER.of('fleet_steps_waiting')})", "waiting"),
            Series(f"sum({WORKER.of('fleet_runs_queued')})", "queued runs"),
        ),
        lines(
            Question("In flight by worker", "Is the work spread evenly over the workers?"),
            Series(f"sum by (instance) ({WORKER.of('fleet_steps_in_flight')})", _BY_WORKER),
        ),
        lines(
            Question(
                "In flight by step", "What is the group busy with? A step that hangs piles up here."
            ),
            Series(f"sum by (step) ({WORKER.of('fleet_steps_in_flight')})", "{{step}}"),
        ),
    ),
)

_COMMITS = Section(
    "Commits",
    3,
    (
        lines(
            Question(
                "Commit duration",
                "How long does a transaction take? Above a second, the broker is the bottleneck.",
                units.Seconds,
            ),
            *_quantiles("fleet_commit_duration_seconds"),
        ),
        lines(
            Question("Commits", "How many transactions are there per second?", PER_SECOND),
            Series(
                queries.rate(WORKER.of("fleet_commit_duration_seconds_count"), "instance"),
                _BY_WORKER,
            ),
        ),
        lines(
            Question("Records per commit", "How much work shares a transaction?"),
            *_quantiles("fleet_commit_records"),
        ),
        lines(
            Question(
                "Bytes per commit",
                "How large are transactions? Prompts and answers count.",
                units.BytesIEC,
            ),
            *_quantiles("fleet_commit_bytes"),
        ),
        heat(
            Question("Commit durations", "Are all commits alike?", units.Seconds),
            WORKER.of("fleet_commit_duration_seconds_bucket"),
        ),
    ),
)

_STATE = Section(
    "State and load",
    4,
    (
        lines(
            Question("State", "How much local state does each partition have?", units.BytesIEC),
            Series(
                queries.worst(WORKER.of("fleet_state_bytes"), "partition"),
                "{{partition}}",
            ),
        ),
        stacked(
            Question(
                "Tasks", "How many partitions are served, and how many still load their state?"
            ),
            Series(f"sum by (state) ({WORKER.of('fleet_tasks')})", "{{state}}"),
        ),
        lines(
            Question(
                "Load duration",
                "How long does a partition wait for its state after it moved to a worker?",
                units.Seconds,
            ),
            *_quantiles("fleet_task_load_seconds"),
        ),
        lines(
            Question("Records to load", "How far is a load? 0 is loaded."),
            Series(
                queries.worst(WORKER.of("fleet_task_load_records_remaining"), "partition"),
                "{{partition}}",
            ),
        ),
    ),
)

_MEMBERS = Section(
    "Workers",
    3,
    (
        lines(
            Question(
                "Workers",
                "How many are there? `in the group` is what the broker says, by the exporter.",
            ),
            Series(f"count({STEP_GROUP.of('fleet_slots')})", "scraped"),
            Series(f"max({STEP_GROUP.of('fleet_group_members')})", "in the group"),
        ),
        lines(
            Question("Rebalances", "When did partitions move? Every worker counts each one."),
            Series(queries.gained(WORKER.of("fleet_rebalances_total"), "instance"), _BY_WORKER),
        ),
        lines(
            Question(
                "Stall of a rebalance",
                "How long does it take from a rebalance until a worker serves all its partitions?",
                units.Seconds,
            ),
            *_quantiles("fleet_rebalance_stall_seconds"),
        ),
        lines(
            Question("CPU", "How many cores does each worker use? At 1, its event loop is full."),
            Series(f"max by (instance) (rate({_CPU}[$__rate_interval]) {_OF_GROUP})", _BY_WORKER),
        ),
        lines(
            Question("Memory", "How much memory does each worker hold?", units.BytesIEC),
            Series(f"max by (instance) ({_MEMORY} {_OF_GROUP})", _BY_WORKER),
        ),
    ),
)


def build() -> Page:
    """Return the dashboard."""
    return Page(
        name="fleet-step-group",
        title="Fleet step group",
        about="One step group: why it is behind, and what its workers are busy with.",
        variables=(
            page.namespace(),
            page.job(),
            page.workflow(),
            page.group(),
            page.instances(),
        ),
        sections=(_LAG, _SLOTS, _COMMITS, _STATE, _MEMBERS),
    )
