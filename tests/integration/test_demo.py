"""`fleet demo` as a newcomer runs it: a process of its own, with nothing running before."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import bare
import pytest

from fleet.cli.demos import parts as demo_parts
from fleet.cli.demos.folder import DemoFolder
from fleet.dev import kafka
from fleet.dev.processes import Process

pytestmark = pytest.mark.kafka

FLEET = Path(sys.executable).with_name("fleet")


@dataclass
class Demo:
    """A fresh machine, as far as the demo can tell."""

    data: Path
    seen: dict[int, Process] = field(default_factory=dict)

    @property
    def folder(self) -> DemoFolder:
        return DemoFolder(self.data / "demo")

    @property
    def environment(self) -> dict[str, str]:
        unset = ("FLEET_", "OPENAI_")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(unset)}
        return inherited | {"FLEET_DATA_DIR": str(self.data)}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [FLEET, "demo", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Return exit code, stdout and stderr; look meanwhile which processes it starts."""
        process = self.start(*arguments)
        while process.poll() is None:
            self.look()
            time.sleep(0.05)
        stdout, stderr = process.communicate()
        return process.returncode, stdout, stderr

    def look(self) -> set[str]:
        """Note the processes of the demo that run now; return what they are."""
        parts = {name: self.folder.part(name) for name in (demo_parts.MODEL, demo_parts.WORKER)}
        found = {name: part.process for name, part in parts.items() if part}
        if broker := kafka.find(self.folder.kafka):
            state = json.loads((self.folder.kafka / "broker.json").read_text())
            found[demo_parts.KAFKA] = Process(broker.pid, state["birth"])
        self.seen |= {process.pid: process for process in found.values()}
        return set(found)

    def left(self) -> list[int]:
        """Return those of the seen processes that run still."""
        return [pid for pid, process in self.seen.items() if process.is_alive()]


def shown(url: str) -> str:
    """Return what a page on this machine shows."""
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - printed by our own demo
        page: str = answer.read().decode()
    return page


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path / "data")
    yield demo
    demo_parts.stop_all(demo.folder)


def test_the_demo_shows_a_run_and_leaves_nothing(demo: Demo) -> None:
    """The critique on stdout, the steps on stderr, and every process and file gone."""
    code, stdout, stderr = demo.run("talking cats")

    assert code == 0, stderr
    assert "talking cats" in stdout
    assert "Verdict" in stdout
    assert stderr.index("generate_joke") < stderr.index("critique_joke")
    assert "scripted: no model is called" in stderr
    assert len(demo.seen) == 3
    assert demo.left() == []
    assert list(demo.data.iterdir()) == []


def test_ctrl_c_takes_everything_down(demo: Demo) -> None:
    """In the middle, with all three processes at work; a second Ctrl-C changes nothing."""
    process = demo.start()
    while demo.look() != {demo_parts.KAFKA, demo_parts.MODEL, demo_parts.WORKER}:
        assert process.poll() is None
        time.sleep(0.02)

    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()

    assert process.returncode == 130, stderr
    assert demo.left() == []
    assert list(demo.data.iterdir()) == []


async def test_a_kept_demo_can_be_used_and_stopped(demo: Demo) -> None:
    """What it prints works: other runs, metrics, any Kafka client, and the end of it."""
    code, _, stderr = demo.run("cats", "--keep")
    assert code == 0, stderr
    assert len(demo.left()) == 3
    (broker,) = (word for word in stderr.split() if word.startswith("FLEET_BROKER="))
    (metrics,) = (word for word in stderr.split() if word.endswith("/metrics"))

    variable, address = broker.split("=")
    fleet_run = subprocess.run(
        [FLEET, "run", "joke", "topic=dogs"],
        env=demo.environment | {variable: address},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "dogs" in fleet_run.stdout
    for name in ("StartEvent", "JokeEvent"):
        records = await bare.read(kafka.at(address).bootstrap, f"fleet.joke.{name}")
        values = b" ".join(record.value or b"" for record in records)
        assert len(records) == 2
        assert b"cats" in values
        assert b"dogs" in values
    page = shown(metrics)
    assert 'fleet_runs_total{group="main",outcome="completed",workflow="joke"} 2.0' in page

    code, stdout, stderr = demo.run("pigs")
    assert (code, "pigs" in stdout) == (0, True), stderr
    assert len(demo.left()) == 3

    assert demo.run("--stop")[0] == 0
    assert demo.left() == []
    assert list(demo.data.iterdir()) == []


def test_a_worker_that_cannot_start_is_told_at_once(demo: Demo) -> None:
    """With the last that it said; its log stays, everything else is taken down."""
    demo.folder.path.mkdir(parents=True)
    # The worker starts in this folder, so what it imports first is this.
    (demo.folder.path / "faust.py").write_text("raise ImportError('nothing to serve here')\n")

    code, stdout, stderr = demo.run()

    assert (code, stdout) == (1, "")
    assert "ended before the run did" in stderr
    assert "ImportError: nothing to serve here" in stderr
    assert demo.folder.log(demo_parts.WORKER).exists()
    assert len(demo.seen) >= 2
    assert demo.left() == []
