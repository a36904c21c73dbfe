"""
Gauges of the present state, read at each scrape: lag, slots, tasks, state.

An event's way updates none of them. The event loop answers a scrape, so a scrape sees every task
between two of its turns.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fleet.observability import metrics
from fleet.observability.metrics import GaugeAtScrape, Metrics

if TYPE_CHECKING:
    from fleet.engine.step_group import Engine
    from fleet.engine.task import Task

_Sample = tuple[GaugeAtScrape, tuple[str, ...], float]


class Gauges(Collector):
    """The gauges of every engine that is open in this process."""

    def __init__(self) -> None:
        self._engines: WeakSet[Any] = WeakSet()

    def add(self, engine: "Engine") -> None:
        """Show *engine* from now on."""
        self._engines.add(engine)

    def remove(self, engine: "Engine") -> None:
        """Stop showing *engine*."""
        self._engines.discard(engine)

    def describe(self) -> Iterable[Metric]:
        """Return the gauges without samples: registering must not read the engines."""
        return _families().values()

    def collect(self) -> Iterable[Metric]:
        """Return the gauges as they are now."""
        families = _families()
        for engine in list(self._engines):
            group = engine.topics.workflow, engine.topics.group
            for gauge, labels, value in _samples(engine):
                families[gauge].add_metric((*group, *labels), value)
        return families.values()


def _families() -> dict[GaugeAtScrape, GaugeMetricFamily]:
    return {
        gauge: GaugeMetricFamily(gauge.name, gauge.help, labels=(*metrics.GROUP, *gauge.labels))
        for gauge in metrics.AT_SCRAPE
    }


def _samples(engine: "Engine") -> Iterator[_Sample]:
    yield metrics.SLOTS, (), engine.settings.slots
    yield from _tasks(engine)
    yield from _steps(engine)
    for partition, task in engine.tasks.items():
        if task.taking:
            yield metrics.STATE_BYTES, (str(partition),), task.ledger.store.size
            yield from _lags(task)


def _tasks(engine: "Engine") -> Iterator[_Sample]:
    loading = engine.loading
    yield metrics.TASKS, ("loading",), len(loading)
    yield metrics.TASKS, ("running",), sum(task.taking for task in engine.tasks.values())
    for partition, remaining in loading.items():
        yield metrics.LOAD_REMAINING, (str(partition),), remaining


def _steps(engine: "Engine") -> Iterator[_Sample]:
    running = Counter(dict.fromkeys(engine.step_group.graph.step_by_name, 0))
    waiting = 0
    for task in engine.tasks.values():
        for attempt in task.attempts:
            if attempt.started:
                running[attempt.work.step.name] += 1
            else:
                waiting += 1
        waiting += task.queues.aside
    yield metrics.STEPS_WAITING, (), waiting
    yield metrics.RUNS_QUEUED, (), engine.step_group.runs.waiting
    for step, count in running.items():
        yield metrics.STEPS_IN_FLIGHT, (step,), count


def _lags(task: "Task") -> Iterator[_Sample]:
    for topic, lag in task.inputs.lags(task.clock.now_ms()).items():
        labels = topic, str(task.partition)
        yield metrics.LAG_RECORDS, labels, lag.records
        yield metrics.LAG_SECONDS, labels, lag.seconds
        yield metrics.COMMITTABLE, labels, lag.committable


GAUGES = Gauges()
REGISTRY.register(GAUGES)


class GroupMetrics(Metrics):
    """Counts what a step group's tasks do, and shows its gauges while it is open."""

    def opened(self, engine: "Engine") -> None:
        """Begin the counters of *engine* at 0, and show it."""
        self.reads(engine.inputs)
        self.runs_steps(engine.step_group.graph.step_by_name)
        GAUGES.add(engine)

    def closed(self, engine: "Engine") -> None:
        """Stop showing *engine*."""
        GAUGES.remove(engine)
