"""
The tutorial as a newcomer types it: each block of the page in order, in an empty folder, on a real
broker, and what the commands say is what the page shows.

Two things differ from a newcomer's machine: pip takes the dependencies from this environment
instead of the network, and helm hears which Kubernetes it is for.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pages
import pytest
import stranger
from following import Follower
from pages import Block

from fleet.dev import kafka

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance, pytest.mark.timeout(300)]

# Of the extra `lint`; no wheel is built without it, and no network is used to get it.
pytest.importorskip("hatchling", reason="hatchling builds the wheels: pip install '.[lint]'")

CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs" / "tutorial.md"
#: The folder that the page makes and stays in.
PACKAGE = "myapp"


class Newcomer(Follower):
    """Types what the tutorial says, with a virtual environment that borrows ours."""

    def __init__(self, folder: Path) -> None:
        home, logs = folder / "home", folder / "logs"
        home.mkdir()
        logs.mkdir()
        (home / "fleet").symlink_to(CHECKOUT)
        self._data = folder / "data"
        variables = stranger.variables() | stranger.OFFLINE | {"FLEET_DATA_DIR": str(self._data)}
        super().__init__(home, logs, variables)
        self._has_borrowed = False

    def file(self, name: str) -> Path:
        return self.folder / PACKAGE / name

    def follow(self, block: Block) -> None:
        super().follow(block)
        environment = self.folder / ".venv"
        if environment.exists() and not self._has_borrowed:
            self._has_borrowed = True
            _borrow(environment)

    def close(self) -> None:
        super().close()
        kafka.stop(self._data / "kafka", purge=True)


def _borrow(environment: Path) -> None:
    stranger.borrow_dependencies(environment)
    stranger.borrow_programs(environment)
    if helm := shutil.which("helm"):
        # One that was built with `go install` takes 1.20 for the cluster's version.
        program = environment / "bin" / "helm"
        program.write_text(f'#!/bin/sh\nexec "{helm}" "$@" --kube-version 1.33.0\n')
        program.chmod(0o755)


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    newcomer = Newcomer(tmp_path)
    yield newcomer
    newcomer.close()


def test_the_tutorial_works_as_it_stands(newcomer: Newcomer) -> None:
    """Every block in order; the broker, the workers and the package are the page's own."""
    for block in pages.blocks(PAGE):
        newcomer.follow(block)
