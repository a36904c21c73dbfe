"""What all tests share: the broker, and which of them one process runs together."""

from typing import Any

import pytest
from sharing import ByLoad

from fleet.dev.kafka import Broker
from fleet.testing.pytest_plugin import fleet_broker, scripted_llm

__all__ = ["fleet_broker", "kafka_broker", "scripted_llm"]


@pytest.fixture(scope="session")
def kafka_broker(fleet_broker: Broker) -> Broker:
    """The broker, as the tests of this repository call it."""
    return fleet_broker


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByLoad:
    """Divide the tests for `pytest -n 2`, as `.ci/run` calls it."""
    return ByLoad(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a name that is another one in each process: two could not share the tests."""
    for item in items:
        params = getattr(item, "callspec", None)
        values = params.params.values() if params is not None else ()
        sets = (value for value in values if isinstance(value, set | frozenset) and len(value) > 1)
        if " at 0x" in item.nodeid or any(repr(value) in item.nodeid for value in sets):
            raise pytest.UsageError(f"{item.nodeid}: give it ids that are the same in each process")
