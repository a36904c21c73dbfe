"""
How long 2,000 runs of two 1 s steps take that are submitted at once to one worker: ideal is 2 s.

    python tests/benchmarks/timer_runs.py [--runs 2000] [--seconds 1] [--rounds 3]

Starts an embedded broker and a worker of its own and takes them down again. Prints one JSON line
per round; the first round also pays for connections. No test asserts on these numbers: machines
differ.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from timer_flow import TimerFlow
from workers import WorkerProcess

from fleet import connect
from fleet.config.settings import Settings
from fleet.dev import kafka


async def measure(settings: Settings, runs: int, rounds: int) -> None:
    async with connect(TimerFlow, settings=settings, timeout=300) as flow:
        # The worker has joined its group when this is back.
        await flow.run(topic="first")
        for number in range(rounds):
            begun = time.perf_counter()
            results = await asyncio.gather(*(flow.run(topic=str(each)) for each in range(runs)))
            seconds = time.perf_counter() - begun
            wrong = sum(result.topic != str(each) for each, result in enumerate(results))
            line = {"round": number, "runs": runs, "seconds": round(seconds, 2), "wrong": wrong}
            sys.stdout.write(json.dumps(line) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--seconds", default="1")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, kafka.embedded() as broker:
        folder = Path(name)
        worker = WorkerProcess(
            "timer_flow",
            folder / "worker.log",
            FLEET_BROKER=broker.address,
            FLEET_DATA_DIR=name,
            TIMER_SECONDS=chosen.seconds,
        )
        try:
            settings = Settings(broker=broker.address, data_dir=folder)
            asyncio.run(measure(settings, chosen.runs, chosen.rounds))
        finally:
            worker.stop()


if __name__ == "__main__":
    main()
