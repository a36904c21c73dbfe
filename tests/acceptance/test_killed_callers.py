"""
Streams whose callers are killed and come back: each token once, and in order.

FLEET_TEST_STREAMS=1000 FLEET_TEST_TOKENS=1000 is the whole of it. FLEET_TEST_TOKENS_PER_SECOND says
how many tokens all streams show together. With `-s` it prints how long tokens took to their caller;
FLEET_TEST_KILLS=0 leaves the time out that a killed caller is away.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pytest
from native import eventually
from stream_caller import noted
from workers import SUPPORT, WorkerProcess

from fleet.dev import kafka
from fleet.dev.kafka import LocalBroker

pytestmark = pytest.mark.kafka

STREAMS = int(os.environ.get("FLEET_TEST_STREAMS", "40"))
TOKENS = int(os.environ.get("FLEET_TEST_TOKENS", "100"))
PER_SECOND = float(os.environ.get("FLEET_TEST_TOKENS_PER_SECOND", "800"))
CALLERS = 2
#: How often each caller is killed.
KILLS = int(os.environ.get("FLEET_TEST_KILLS", "3"))
TIMEOUT_SECONDS = 120 + 4 * STREAMS * TOKENS / PER_SECOND


class CallerProcess:
    """One process that reads a share of the streams."""

    def __init__(self, number: int, folder: Path, environment: dict[str, str]) -> None:
        self.path = folder / f"caller{number}.notes"
        self._log = folder / f"caller{number}.log"
        self._environment = environment
        share = STREAMS // CALLERS
        self.runs = range(number * share, (number + 1) * share)
        self._start()

    def _start(self) -> None:
        pause = STREAMS / PER_SECOND
        script = str(SUPPORT / "stream_caller.py")
        what = [str(TOKENS), str(pause), str(self.runs.start), str(self.runs.stop)]
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, script, str(self.path), *what],
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def lines(self) -> int:
        """How many events it has noted."""
        return self.path.read_bytes().count(b"\n") if self.path.exists() else 0

    async def live(self) -> None:
        """Read everything, and be killed in between."""
        whole = len(self.runs) * (TOKENS + 1)
        for kill in range(1, KILLS + 1):
            await eventually(partial(self._has_noted, whole * kill // (KILLS + 1)), TIMEOUT_SECONDS)
            self.process.kill()
            self.process.wait()
            self._start()
        await eventually(self._is_over, TIMEOUT_SECONDS)

    async def _has_noted(self, lines: int) -> bool:
        return await self._is_over() or self.lines >= lines

    async def _is_over(self) -> bool:
        if self.process.poll():
            pytest.fail(self._log.read_text()[-4_000:])
        return self.process.poll() is not None

    def stop(self) -> None:
        """End it in whatever state it is."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of processes with a broker and a worker of their own."""
    with kafka.embedded() as broker:
        assert isinstance(broker, LocalBroker)
        variables = {
            "FLEET_BROKER": broker.address,
            "FLEET_PREFIX": "streams",
            "FLEET_DATA_DIR": str(tmp_path),
            "FLEET_PARTITIONS": "8",
            "FLEET_SLOTS": str(STREAMS + 10),
        }
        worker = WorkerProcess("token_flow", tmp_path / "worker.log", **variables)
        try:
            yield {**os.environ, **variables, "PYTHONPATH": str(SUPPORT)}
        finally:
            worker.stop()


def wrong(run_id: str, notes: list[dict[str, Any]]) -> list[str]:
    """Return what is wrong with what was noted of a stream."""
    numbers = [one.get("number") for one in notes]
    attempts = {one.get("attempt") for one in notes[:-1]}
    found = []
    if numbers != [*range(TOKENS), None]:
        missing = set(range(TOKENS)) - set(numbers)
        found.append(f"{run_id}: {len(numbers)} events, {len(missing)} tokens are missing")
    if not notes or notes[-1]["kind"] != "Told" or len(attempts) != 1:
        found.append(f"{run_id}: ends with {notes[-1:]}, of {len(attempts)} attempts")
    return found


@pytest.mark.timeout(TIMEOUT_SECONDS)
async def test_killed_callers_see_each_token_once_and_in_order(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """They continue from the cursors that they have noted."""
    callers = [CallerProcess(number, tmp_path, environment) for number in range(CALLERS)]
    try:
        await asyncio.gather(*(caller.live() for caller in callers))
    finally:
        for caller in callers:
            caller.stop()
    notes = {run: found for caller in callers for run, found in noted(caller.path).items()}
    assert len(notes) == len(callers[0].runs) * CALLERS
    assert [line for run, found in notes.items() for line in wrong(run, found)] == []
    seconds = sorted(one["seconds"] for found in notes.values() for one in found[:-1])
    told = f"p50 {median(seconds) * 1000:.0f} ms, p95 {quantiles(seconds, n=20)[-1] * 1000:.0f} ms"
    sys.stdout.write(f"{len(seconds):,} tokens of {len(notes):,} streams: {told}\n")
