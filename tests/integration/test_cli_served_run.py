"""`fleet run` against a real worker process."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import bare
import pytest
from workers import SUPPORT, WorkerProcess

from fleet.dev.kafka import Broker

pytestmark = pytest.mark.kafka

FLOW = "timer_flow:TimerFlow"


class Command:
    """`fleet run` under a prefix of its own, in the folder of the workflow's module."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.prefix = f"run{uuid4().hex[:8]}"

    @property
    def environment(self) -> dict[str, str]:
        return {"FLEET_BROKER": self.broker.address, "FLEET_PREFIX": self.prefix}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [Path(sys.executable).with_name("fleet"), "run", *arguments],
            cwd=SUPPORT,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Return exit code, stdout and stderr."""
        with self.start(*arguments) as process:
            stdout, stderr = process.communicate()
        return process.returncode, stdout, stderr


@pytest.fixture(scope="module")
def served(kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A prefix with a worker."""
    command = Command(kafka_broker)
    folder = tmp_path_factory.mktemp("worker")
    worker = WorkerProcess(
        "timer_flow", folder / "worker.log", FLEET_DATA_DIR=str(folder), **command.environment
    )
    yield command
    worker.stop()


def test_the_result_is_alone_on_stdout(served: Command) -> None:
    """Words, the run's id and the stream are on stderr."""
    code, stdout, stderr = served(FLOW, "topic=cats", "--run-id", "r1")
    assert code == 0
    assert json.loads(stdout)["verdict"] == "good: a joke about cats"
    assert _lines(stderr) == ["Run r1 of timer", 'JokeEvent {"joke":"a joke about cats"}']


def test_json_has_the_run_id(served: Command) -> None:
    """So that a script can go on with the run; --no-stream keeps quiet."""
    code, stdout, stderr = served(FLOW, "topic=dogs", "-o", "json", "--no-stream")
    shown = json.loads(stdout)
    assert code == 0
    assert shown["result"]["topic"] == "dogs"
    assert stderr == f"Run {shown['run_id']} of timer\n"


def test_a_repeated_run_id_gives_the_first_result(served: Command) -> None:
    """And with other fields it is refused, so a script cannot take one result for another."""
    first = served(FLOW, "topic=once", "--run-id", "same")
    assert served(FLOW, "topic=once", "--run-id", "same")[:2] == first[:2]
    code, stdout, stderr = served(FLOW, "topic=twice", "--run-id", "same")
    assert (code, stdout) == (2, "")
    assert "run same was started earlier with other fields" in stderr


def test_a_failed_run_is_one_sentence(served: Command) -> None:
    """The original error with the step's name; exit code 1, nothing on stdout."""
    code, stdout, stderr = served(FLOW, "topic=bad taste", "--run-id", "poor")
    assert (code, stdout) == (1, "")
    assert stderr == (
        "Run poor of timer\n"
        "Error: LookupError: nothing to laugh at in a joke about bad taste "
        "(in step judge of run poor, attempt 1)\n"
        "See docs/reference.md#runfailed\n"
    )


async def test_ctrl_c_leaves_the_run(kafka_broker: Broker) -> None:
    """The start event is in the log; the command says how to get the result, and ends with 130."""
    unserved = Command(kafka_broker)
    process = unserved.start(FLOW, "topic=later", "--run-id", "r2")
    assert process.stderr is not None
    assert process.stderr.readline() == "Run r2 of timer\n"
    starts = f"{unserved.prefix}.timer.StartEvent"
    while not await bare.read(kafka_broker.bootstrap, starts):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.05)

    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()

    assert (process.returncode, stdout) == (130, "")
    assert "Run r2 continues" in stderr
    assert "--run-id r2" in stderr
    assert len(_lines(stderr)) == 1


def _lines(stderr: str) -> list[str]:
    """Return what a command said, but that the workers have not come yet."""
    hint = "No worker of the step group "
    return [line for line in stderr.splitlines() if not line.startswith(hint)]
