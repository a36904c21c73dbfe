"""
The metrics of `fleet exporter`.

Lag has the names and labels that a worker exports for its own partitions, so one query covers both.
The numbers are those of the last look alone: no old value stays.
"""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fleet.control.lag.reader import GroupLag
from fleet.observability import metrics
from fleet.observability.metrics import GROUP, GaugeAtScrape

MEMBERS = GaugeAtScrape(
    "fleet_group_members", "Workers in the consumer group of a step group; 0 without any."
)
UP = ("fleet_exporter_up", "1 if the last look at the broker worked, else 0.")
LOOK_SECONDS = (
    "fleet_exporter_scrape_seconds",
    "How long a look at the broker took; failed looks count, too.",
)
_OF_GROUPS = (metrics.LAG_RECORDS, metrics.LAG_SECONDS, metrics.COMMITTABLE, MEMBERS)
_LOOK_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
#: The labels of every metric of the exporter, by its name.
LABELS: dict[str, tuple[str, ...]] = {
    **{gauge.name: (*GROUP, *gauge.labels) for gauge in _OF_GROUPS},
    UP[0]: (),
    LOOK_SECONDS[0]: (),
    "fleet_build_info": ("version", "python", "faust", "aiokafka"),
}


class ExporterMetrics(Collector):
    """The metrics of one exporter, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        #: The last look; None before the first one, and if it failed.
        self._groups: Sequence[GroupLag] | None = None
        self._look_seconds = Histogram(*LOOK_SECONDS, buckets=_LOOK_BUCKETS, registry=self.registry)
        self.registry.register(metrics.BUILD)
        self.registry.register(self)

    def looked(self, groups: Sequence[GroupLag] | None, seconds: float) -> None:
        """Take the groups of a look that took *seconds*; None if it failed."""
        self._groups = groups
        self._look_seconds.observe(seconds)

    def describe(self) -> Iterable[Metric]:
        """Return the families without samples."""
        return [*_families().values(), GaugeMetricFamily(*UP)]

    def collect(self) -> Iterable[Metric]:
        """Return the numbers of the last look."""
        families = _families()
        for group in self._groups or ():
            for gauge, labels, value in _samples(group):
                families[gauge].add_metric((group.workflow, group.group, *labels), value)
        return [*families.values(), GaugeMetricFamily(*UP, value=self._groups is not None)]


def _families() -> dict[GaugeAtScrape, GaugeMetricFamily]:
    return {
        gauge: GaugeMetricFamily(gauge.name, gauge.help, labels=LABELS[gauge.name])
        for gauge in _OF_GROUPS
    }


def _samples(group: GroupLag) -> Iterator[tuple[GaugeAtScrape, tuple[str, ...], float]]:
    yield MEMBERS, (), group.members
    for lag in group.partitions:
        labels = lag.topic, str(lag.partition)
        yield metrics.LAG_RECORDS, labels, lag.records
        yield metrics.LAG_SECONDS, labels, lag.seconds
        yield metrics.COMMITTABLE, labels, lag.committable
