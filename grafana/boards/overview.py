"""Fleet overview: whether anything is wrong, and in which workflow or step group."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units

from boards import page, queries
from boards.page import Page, Section
from boards.panels import PER_SECOND, Question, Series, lines, listing, number, stacked
from boards.queries import FLEET, GROUP

_ENDED = "fleet_runs_total"
_STARTED = "fleet_runs_started_total"
_DEAD = "fleet_dead_letters_total"
_BY_GROUP = "{{workflow}} {{group}}"
_FIRING = 'ALERTS{alertname=~"Fleet.+", alertstate="firing", namespace=~"$namespace"}'


def _link(board: str, title: str, *labels: str) -> dashboard.DashboardLink:
    """Lead from a series to another dashboard, which chooses what the series' *labels* say."""
    chosen = "&".join(f"var-{label}=${{__field.labels.{label}}}" for label in labels)
    variables = "${datasource:queryparam}&${namespace:queryparam}&${job:queryparam}"
    address = f"/d/{board}?{chosen}&{variables}&${{__url_time_range}}"
    return dashboard.DashboardLink(title).url(address)


_Links = list[Builder[models.DashboardLink]]
_TO_WORKFLOW: _Links = [_link("fleet-workflow", "This workflow", "workflow")]
_TO_GROUP: _Links = [_link("fleet-step-group", "This step group", "workflow", "group")]

_NOW = Section(
    "Now",
    6,
    (
        number(
            Question("Workers", "How many workers are there? Without one, nothing is done."),
            f"count({FLEET.of('fleet_slots')}) or vector(0)",
            (0, "red"),
            (1, "green"),
        ),
        number(
            Question("Runs ended", "How many runs end per second, well or not?", PER_SECOND),
            f"sum(rate({FLEET.of(_ENDED)}[$__rate_interval]))",
        ),
        number(
            Question(
                "Failing runs",
                "Which share of the runs that end has failed or timed out?",
                units.PercentUnit,
            ),
            queries.share(
                f"sum(rate({FLEET.of(_ENDED, queries.FAILING)}[$__rate_interval]))",
                f"sum(rate({FLEET.of(_ENDED)}[$__rate_interval]))",
            ),
            (0, "green"),
            (0.02, "orange"),
            (0.1, "red"),
        ),
        number(
            Question("Worst lag", "How old is the oldest event that is not done?", units.Seconds),
            f"max({FLEET.of('fleet_lag_seconds')})",
            (0, "green"),
            (120, "orange"),
            (300, "red"),
        ),
        number(
            Question("Dead letters", "How many events could not be processed in this time range?"),
            f"sum(increase({FLEET.of(_DEAD)}[$__range])) or vector(0)",
            (0, "green"),
            (1, "red"),
        ),
        number(
            Question(
                "Firing alerts",
                "How many alerts of Fleet fire? 0 also where the rules are not installed.",
            ),
            f"count({_FIRING}) or vector(0)",
            (0, "green"),
            (1, "red"),
        ),
    ),
    4,
)

_RUNS = Section(
    "Runs",
    3,
    (
        stacked(
            Question("Runs by outcome", "How many runs end per second, and how?", PER_SECOND),
            Series(queries.rate(FLEET.of(_ENDED), "outcome"), "{{outcome}}"),
        ),
        lines(
            Question(
                "Started and ended",
                "Do runs end as fast as they are started? Where they do not, work piles up.",
                PER_SECOND,
            ),
            Series(queries.rate(FLEET.of(_STARTED), "workflow"), "{{workflow}} started"),
            Series(queries.rate(FLEET.of(_ENDED), "workflow"), "{{workflow}} ended"),
        ).data_links(_TO_WORKFLOW),
        lines(
            Question(
                "Failing runs by workflow",
                "In which workflow do runs fail or time out, as a share of those that end?",
                units.PercentUnit,
            ),
            Series(queries.failing(FLEET, "workflow"), "{{workflow}}"),
        ).data_links(_TO_WORKFLOW),
    ),
)

_LAG = Section(
    "Lag",
    2,
    (
        lines(
            Question(
                "Age of the oldest event",
                "Which step group is behind, in seconds? A long step counts from its event on.",
                units.Seconds,
            ),
            Series(queries.worst(FLEET.of("fleet_lag_seconds"), GROUP), _BY_GROUP),
        ).data_links(_TO_GROUP),
        lines(
            Question(
                "Events not done",
                "How much is there to do, what is being worked on included?",
            ),
            Series(queries.lag_records(FLEET, GROUP), _BY_GROUP),
        ).data_links(_TO_GROUP),
    ),
)

_WORKERS = Section(
    "Workers",
    3,
    (
        lines(
            Question("Workers by step group", "How many workers does each step group have?"),
            Series(f"count by ({GROUP}) ({FLEET.of('fleet_slots')})", _BY_GROUP),
        ).data_links(_TO_GROUP),
        lines(
            Question(
                "Slots in use",
                "Which step group has as many steps in flight as it may? Then more workers help, "
                "or more slots.",
                units.PercentUnit,
            ),
            Series(
                f"sum by ({GROUP}) ({FLEET.of('fleet_steps_in_flight')})"
                f" / sum by ({GROUP}) ({FLEET.of('fleet_slots')})",
                _BY_GROUP,
            ),
        ).data_links(_TO_GROUP),
        lines(
            Question(
                "Rebalances",
                "Where do workers come and go? Each change pauses the whole step group.",
            ),
            Series(
                f"max by ({GROUP}) "
                f"(increase({FLEET.of('fleet_rebalances_total')}[$__rate_interval]))",
                _BY_GROUP,
            ),
        ).data_links(_TO_GROUP),
    ),
)

_TROUBLE = Section(
    "Trouble",
    3,
    (
        lines(
            Question(
                "Dead letters by reason",
                "Which events could not be processed, and why? `fleet dead list` shows them.",
            ),
            Series(
                queries.gained(FLEET.of(_DEAD), f"{GROUP}, reason"), f"{_BY_GROUP} {{{{reason}}}}"
            ),
        ).data_links(_TO_WORKFLOW),
        listing(
            Question("Alerts that fire", "What is wrong by the rules of grafana/rules?"),
            _FIRING,
            ("Value", "__name__", "alertstate", "instance", "job"),
        ),
        listing(
            Question(
                "Versions", "Which versions are running? Two at once, while it is rolled out."
            ),
            f"count by (version, python, faust, aiokafka) ({FLEET.of('fleet_build_info')})",
            value="processes",
        ),
        lines(
            Question(
                "Exporter",
                "Does `fleet exporter` see the broker? 1 is yes. Without it there is no lag of "
                "groups without workers. Empty without an exporter.",
            ),
            Series(f"min by (instance) ({FLEET.of('fleet_exporter_up')})", "{{instance}}"),
        ),
        lines(
            Question(
                "Looks of the exporter",
                "How long does the exporter take to look at the broker? p95.",
                units.Seconds,
            ),
            Series(queries.quantile(0.95, FLEET.of("fleet_exporter_scrape_seconds_bucket")), "p95"),
        ),
    ),
)


def build() -> Page:
    """Return the dashboard."""
    return Page(
        name="fleet-overview",
        title="Fleet overview",
        about="All workflows: is anything wrong, and where?",
        variables=(page.namespace(), page.job()),
        sections=(_NOW, _RUNS, _LAG, _WORKERS, _TROUBLE),
    )
