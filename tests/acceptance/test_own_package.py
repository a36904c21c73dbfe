"""
A stranger's package: Fleet from its built wheel, everything else from outside of the checkout.

Fleet's dependencies are those of this interpreter, so that nothing is downloaded.
"""

import json
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from stranger import borrow_dependencies, variables

from fleet.dev.kafka import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

# Of the extra `lint`; no wheel is built without it, and no network is used to get it.
pytest.importorskip("hatchling", reason="hatchling builds the wheels: pip install '.[lint]'")

CHECKOUT = Path(__file__).parents[2]
OFFLINE = ("--no-index", "--no-build-isolation", "--disable-pip-version-check")


class Stranger:
    """Somebody with a virtual environment and a folder, and without the checkout."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self.folder = folder
        self.package = folder / "myapp"
        self._programs = folder / "venv" / "bin"
        self._variables = variables() | {
            "FLEET_BROKER": broker.address,
            "FLEET_TEST_BROKER": broker.address,
            "FLEET_PREFIX": f"own{uuid4().hex[:8]}",
            "FLEET_DATA_DIR": str(folder / "data"),
        }

    def __call__(self, program: str, *arguments: str) -> str:
        """Run a program to its end, in the package where it is there; return its stdout."""
        done = subprocess.run(
            [*self._program(program), *arguments],
            cwd=self.package if self.package.exists() else self.folder,
            env=self._variables,
            capture_output=True,
            text=True,
            check=False,  # below, with what it said
        )
        assert done.returncode == 0, f"{program} {arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def worker(self) -> Iterator[Path]:
        """A worker as the image starts and stops it; yields its log."""
        log = self.folder / "worker.log"
        program, *arguments = self._command_of_the_image()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*self._program(program), *arguments],
                cwd=self.package,
                env=self._variables,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield log
        finally:
            process.terminate()
            code = process.wait(60)
        assert code == 0, log.read_text()

    def _command_of_the_image(self) -> list[str]:
        lines = (self.package / "Dockerfile").read_text().splitlines()
        command: list[str] = json.loads(lines[-1].removeprefix("CMD "))
        return command

    def _program(self, name: str) -> list[str]:
        # Of the packages that it borrows, the environment has the modules only.
        program = self._programs / name
        return [str(program)] if program.exists() else [str(self._programs / "python"), "-m", name]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(CHECKOUT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def stranger(
    wheel: Path, kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> Stranger:
    """With Fleet installed, and a package of their own, installed to be edited in place."""
    folder = tmp_path_factory.mktemp("stranger")
    venv.create(folder / "venv", with_pip=True)
    stranger = Stranger(folder, kafka_broker)
    stranger("pip", "install", *OFFLINE, "--no-deps", str(wheel))
    borrow_dependencies(folder / "venv")
    assert stranger("fleet", "init", "myapp") == "myapp\n"
    stranger("pip", "install", *OFFLINE, "-e", ".[test]")
    return stranger


def build(project: Path, folder: Path) -> Path:
    """Build a project's wheel."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_checkout_is_out_of_sight(stranger: Stranger) -> None:
    """What is tested here is the wheel."""
    where = stranger("python", "-c", "import fleet; print(fleet.__file__)").strip()
    assert Path(where).is_relative_to(stranger.folder / "venv")


def test_its_tests_pass_at_once(stranger: Stranger) -> None:
    """In memory and on Kafka, with warnings as errors, and none of them left out."""
    said = stranger("pytest", "-W", "error", "-p", "no:cacheprovider")
    assert "4 passed in" in said


def test_its_types_hold(stranger: Stranger) -> None:
    """Strictly, by the annotations that come with Fleet's wheel."""
    pytest.importorskip("mypy", reason="of the extra `lint`")
    stranger("mypy", "--strict", "--cache-dir", str(stranger.folder / "types"), ".")


def test_a_worker_runs_it_for_fleet_run(stranger: Stranger) -> None:
    """By `module:Class`, and by the name of the package's entry point; then it stops in order."""
    with stranger.worker() as log:
        stranger("fleet", "run", "myapp.flows:Hello", "name=Ada")
        shown = stranger("fleet", "run", "hello", "name=Bob", "-o", "json")
    assert json.loads(shown)["result"] == "Hello, Bob! How are you?"
    assert "Traceback" not in log.read_text()


def test_it_can_be_drawn(stranger: Stranger) -> None:
    """By both names; the page has its steps and events, and needs no other file."""
    for number, name in enumerate(("myapp.flows:Hello", "hello")):
        page = stranger.folder / f"hello-{number}.html"
        stranger("fleet", "draw", name, "--to", str(page))
        drawn = page.read_text()
        assert [word for word in ("greet", "ask", "GreetingEvent") if word not in drawn] == []


def test_its_topics_are_listed(stranger: Stranger) -> None:
    """`fleet topics` finds the workflow by its entry point, too."""
    topics = json.loads(stranger("fleet", "topics", "list", "hello", "-o", "json"))
    assert any(topic["topic"].endswith(".hello.GreetingEvent") for topic in topics)


def test_its_wheel_has_the_workflow_and_its_name(stranger: Stranger, tmp_path: Path) -> None:
    """What an image installs: the package, its entry point, and no tests."""
    with zipfile.ZipFile(build(stranger.package, tmp_path)) as archive:
        names = archive.namelist()
        entry_points = archive.read("myapp-0.1.0.dist-info/entry_points.txt").decode()
    assert "myapp/flows.py" in names
    assert "hello = myapp.flows:Hello" in entry_points
    assert not [name for name in names if "test" in name]
