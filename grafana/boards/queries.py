"""
Words of PromQL that the dashboards share, so that a question is asked in the same way everywhere.

Workers and the exporter export the lag under the same names, and both may be scraped. So what
belongs to the step group and not to a process is taken as a maximum, never as a sum.
"""

from dataclasses import dataclass, replace

#: Per topic and partition: lag and committable offset are the same from every exporter.
PARTITION = "workflow, group, topic, partition"
GROUP = "workflow, group"
FAILING = 'outcome=~"failed|timed_out"'


@dataclass(frozen=True, slots=True)
class Scope:
    """Which series a dashboard is about, as label matchers over its variables."""

    matchers: tuple[str, ...]

    def narrowed(self, *matchers: str) -> "Scope":
        """Return this scope with more *matchers*."""
        return replace(self, matchers=(*self.matchers, *matchers))

    def of(self, metric: str, *matchers: str) -> str:
        """Return the series of *metric* in this scope."""
        return f"{metric}{{{', '.join((*self.matchers, *matchers))}}}"


FLEET = Scope(('namespace=~"$namespace"', 'job=~"$job"'))
WORKFLOW = FLEET.narrowed('workflow="$workflow"', 'group=~"$group"')
STEP = WORKFLOW.narrowed('step=~"$step"')
STEP_GROUP = FLEET.narrowed('workflow="$workflow"', 'group="$group"')
WORKER = STEP_GROUP.narrowed('instance=~"$instance"')


def rate(counter: str, by: str) -> str:
    """Per second, summed over workers."""
    return f"sum by ({by}) (rate({counter}[$__rate_interval]))"


def gained(counter: str, by: str) -> str:
    """How many came within each step of the graph."""
    return f"sum by ({by}) (increase({counter}[$__rate_interval]))"


def quantile(rank: float, buckets: str, by: str = "") -> str:
    """Quantile of a histogram's *buckets* over all workers, for each value of *by*."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({rank}, {rate(buckets, labels)})"


def mean(histogram: str, scope: Scope, by: str) -> str:
    """Average of a histogram's observations."""
    total, count = scope.of(f"{histogram}_sum"), scope.of(f"{histogram}_count")
    return f"{rate(total, by)} / ({rate(count, by)} > 0)"


def share(part: str, whole: str) -> str:
    """*part* of *whole*: 0 where there is no part, nothing where there is no whole."""
    return f"({part} or {whole} * 0) / ({whole} > 0)"


def failing(scope: Scope, by: str) -> str:
    """Share of ended runs that failed or timed out; a cancelled one was wanted."""
    runs = "fleet_runs_total"
    return share(rate(scope.of(runs, FAILING), by), rate(scope.of(runs), by))


def worst(gauge: str, by: str) -> str:
    """The largest value of all exporters."""
    return f"max by ({by}) ({gauge})"


def lag_records(scope: Scope, by: str) -> str:
    """Events that are not done, summed over partitions that several processes may export."""
    return f"sum by ({by}) ({worst(scope.of('fleet_lag_records'), PARTITION)})"
