"""The page on testing: its tests pass in a package that `fleet init` made."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pages
import pytest
import stranger
from following import Follower

from fleet.cli.scaffold import new_package
from fleet.dev.kafka import Broker

pytestmark = pytest.mark.kafka

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


@pytest.fixture
def author(kafka_broker: Broker, tmp_path: Path) -> Iterator[Follower]:
    """In the folder of a new package, with this environment's programs."""
    package, logs = tmp_path / "myapp", tmp_path / "logs"
    new_package.write("myapp", package)
    logs.mkdir()
    variables = stranger.variables() | {"FLEET_TEST_BROKER": kafka_broker.address}
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
    author = Follower(package, logs, variables)
    yield author
    author.close()


def test_the_page_on_testing_works_as_it_stands(author: Follower) -> None:
    """Every block in order, and what pytest says is what the page shows."""
    for block in pages.blocks(PAGE):
        author.follow(block)
