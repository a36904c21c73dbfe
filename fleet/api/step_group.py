"""A step group on Kafka."""

from fleet.config.settings import Settings
from fleet.engine.step_group import Engine
from fleet.kafka.backend import KafkaBackend
from fleet.kafka.children import Carries
from fleet.observability.gauges import GroupMetrics
from fleet.records.topics import Topics
from fleet.workflow import definition
from fleet.workflow.definition import Definition


def on_kafka(
    workflow: Definition, topics: Topics, settings: Settings, carries: Carries | None = None
) -> Engine:
    """Return the step group of *workflow*, which is not open, on the broker of *settings*.

    *carries*: which other workflows its app carries; None: workers elsewhere run them.
    """
    backend = KafkaBackend(settings, topics, definition.graph(type(workflow)), carries)
    return Engine(workflow, topics, settings, backend, GroupMetrics(topics))
