"""`fleet run --input --output` against a real worker, interrupted and gone on with."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import bare
import pytest
from workers import SUPPORT, WorkerProcess

from fleet.dev.kafka import Broker

pytestmark = pytest.mark.kafka

LINES = 1_000


class Bulk:
    """The command on files of its own, with a worker under a prefix of its own."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.prefix = f"bulk{uuid4().hex[:8]}"
        self.source = folder / "items.jsonl"
        self.target = folder / "results.jsonl"
        self.bootstrap = broker.bootstrap
        self.environment = {"FLEET_BROKER": broker.address, "FLEET_PREFIX": self.prefix}
        self.worker = WorkerProcess(
            "timer_flow", folder / "worker.log", FLEET_DATA_DIR=str(folder), **self.environment
        )

    def start(self, *more: str) -> subprocess.Popen[str]:
        files = ["--input", str(self.source), "--output", str(self.target)]
        return subprocess.Popen(
            [Path(sys.executable).with_name("fleet"), "run", "timer_flow:TimerFlow", *files, *more],
            cwd=SUPPORT,
            env={**os.environ, **self.environment},
            stderr=subprocess.PIPE,
            text=True,
        )

    def finished(self, *more: str) -> tuple[int, str]:
        """Return exit code and stderr."""
        with self.start(*more) as process:
            _, stderr = process.communicate()
        return process.returncode, stderr

    def interrupted(self, at: int, number: signal.Signals) -> tuple[int, str]:
        """Begin, and send the signal as soon as there are *at* lines in the output."""
        with self.start() as process:
            while process.poll() is None and self.count() < at:
                time.sleep(0.005)
            process.send_signal(number)
            _, stderr = process.communicate()
        return process.returncode, stderr

    def write(self, *items: dict[str, object]) -> None:
        self.source.write_text("".join(json.dumps(item) + "\n" for item in items))

    def count(self) -> int:
        return self.target.read_bytes().count(b"\n") if self.target.exists() else 0

    def read(self) -> list[Any]:
        return [json.loads(line) for line in self.target.read_text().splitlines()]

    async def starts(self) -> Counter[str]:
        """Return how often each run was started, as the log has it."""
        records = await bare.read(self.bootstrap, f"{self.prefix}.timer.runs")
        started = [each for each in records if bare.header(each, "fleet-type") == "started"]
        return Counter(bare.run_id(each) for each in started)


@pytest.fixture
def bulk(kafka_broker: Broker, tmp_path: Path) -> Iterator[Bulk]:
    made = Bulk(kafka_broker, tmp_path)
    yield made
    made.worker.stop()


@pytest.mark.parametrize("seed", [1, 2])
async def test_1000_lines_interrupted_twice_get_one_result_each(bulk: Bulk, seed: int) -> None:
    """kill -9 and Ctrl-C at random points; each line has its own result, from one run."""
    chance = random.Random(seed)
    bulk.write(*({"id": number, "topic": f"topic {number}"} for number in range(LINES)))
    points = sorted(chance.sample(range(50, 900), 2))
    signals = chance.sample([signal.SIGKILL, signal.SIGINT], 2)

    codes = {}
    for point, number in zip(points, signals, strict=True):
        code, stderr = await asyncio.to_thread(bulk.interrupted, point, number)
        codes[number] = code
        assert point <= bulk.count() < LINES
        if number is signal.SIGINT:
            assert stderr.startswith(f"Interrupted: {bulk.count():,} of 1,000 results are in ")
            assert f"fleet run timer_flow:TimerFlow --input {bulk.source} --output" in stderr
    before = bulk.count()
    code, stderr = await asyncio.to_thread(bulk.finished)

    assert codes == {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}
    assert code == 0, stderr
    assert f"1,000 of 1,000 items done, {before:,} of them before: " in stderr
    shown = bulk.read()
    assert len(shown) == LINES
    assert {each["id"]: each["result"]["topic"] for each in shown} == {
        number: f"topic {number}" for number in range(LINES)
    }
    assert all(each["line"] == each["id"] + 1 for each in shown)
    starts = await bulk.starts()
    assert set(starts.values()) == {1}
    assert set(starts) == {each["run_id"] for each in shown}


async def test_failures_are_listed_and_tried_again(bulk: Bulk) -> None:
    """Exit code 3, each with its reason; another call makes another run of the failed ones only."""
    bulk.write({"topic": "cats"}, {"topic": "bad taste", "id": "b"}, {"topic": "dogs"})

    code, stderr = await asyncio.to_thread(bulk.finished, "--concurrency", "1")
    again, _ = await asyncio.to_thread(bulk.finished, "--concurrency", "1")

    assert (code, again) == (3, 3)
    assert "2 of 3 items done" in stderr
    assert "1 of 3 items have no result" in stderr
    reason = "line 2 (id b): LookupError: nothing to laugh at in a joke about bad taste (in step"
    assert reason in stderr
    shown = bulk.read()
    assert ["error" in each for each in shown] == [False, True, False, True]
    assert [each["result"]["topic"] for each in shown if "result" in each] == ["cats", "dogs"]
    assert shown[3]["run_id"] == f"{shown[1]['run_id']}#2"
    assert len(await bulk.starts()) == 4


async def test_two_commands_do_not_write_to_one_output(bulk: Bulk) -> None:
    """The second one is refused while the first one works, and starts nothing."""
    bulk.worker.stop()
    bulk.write({"topic": "cats"})
    with bulk.start() as first:
        # It is open, and so locked, a moment before the first run is asked for.
        # A file of another process is all there is to look at.
        while not (await asyncio.to_thread(started, bulk)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)

        code, stderr = await asyncio.to_thread(bulk.finished)

        first.send_signal(signal.SIGINT)
        first.communicate()
    assert code == 2
    assert f"another command is writing to {bulk.target}" in stderr
    assert first.returncode == 130


def started(bulk: Bulk) -> bool:
    """Tell whether a start event is in the log."""
    return bool(asyncio.run(bare.read(bulk.bootstrap, f"{bulk.prefix}.timer.StartEvent")))
