"""
A broker for tests: `pytest_plugins = ["fleet.dev.pytest_plugin"]` in the top conftest.py.

One broker serves a whole test session, because a start costs a second or more; so a test uses
topics of its own. FLEET_TEST_BROKER names one to use instead.
"""

import os
from collections.abc import Iterator

import pytest

from fleet.dev import kafka
from fleet.dev.kafka import Broker

VARIABLE = "FLEET_TEST_BROKER"


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[Broker]:
    """The broker of FLEET_TEST_BROKER, else an embedded one that ends with the session."""
    given = os.environ.get(VARIABLE)
    if given:
        yield kafka.at(given)
        return
    with kafka.embedded() as broker:
        yield broker
