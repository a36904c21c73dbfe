"""Runs against a line, and what they cost: the part that workloads share."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks import usage
from benchmarks.scene import Figures, Line

#: A worker joins its group, creates its state and answers for the first time within this.
READY_SECONDS = 60.0
WARM_UP_RUNS = 100

Load = Callable[[], Awaitable[int]]


async def ready(line: Line, warm_up: int = WARM_UP_RUNS) -> None:
    """Return when every part has run: the first run alone, the others at once."""
    async with asyncio.timeout(READY_SECONDS):
        await line.run("first")
        await asyncio.gather(*(line.run(f"warm {each}") for each in range(warm_up)))


async def one(line: Line, topic: str) -> bool:
    """Do one run; return whether its result was wrong."""
    return await line.run(topic) != line.expected(topic)


async def at_once(line: Line, runs: int) -> int:
    """Start all runs together; return how many results were wrong."""
    return sum(await asyncio.gather(*(one(line, str(each)) for each in range(runs))))


async def outstanding(line: Line, runs: int, most: int) -> int:
    """Keep at most *most* runs going; return how many results were wrong."""
    topics = iter(range(runs))

    async def lane() -> int:
        return sum([await one(line, str(each)) for each in topics])

    return sum(await asyncio.gather(*(lane() for _ in range(min(most, runs)))))


async def measured(line: Line, runs: int, load: Load, broker_pid: int = 0) -> Figures:
    """Return what a load of *runs* cost: the worker's part, the caller's and the broker's."""
    broker = (broker_pid,) if broker_pid else ()
    before, broker_before = usage.of(line.pids), usage.of(broker)
    caller_before, begun = time.process_time(), time.perf_counter()
    wrong = int(await load())
    seconds = time.perf_counter() - begun
    caller = time.process_time() - caller_before
    after, broker_after = usage.of(line.pids), usage.of(broker)
    each = 1000 / runs
    return {
        "runs": runs,
        "wrong": wrong,
        "wall_s": seconds,
        "runs_per_s": runs / seconds,
        "worker_cpu_s": after.cpu_seconds - before.cpu_seconds,
        "worker_cpu_ms_per_run": (after.cpu_seconds - before.cpu_seconds) * each,
        "caller_cpu_ms_per_run": caller * each,
        "broker_cpu_ms_per_run": (broker_after.cpu_seconds - broker_before.cpu_seconds) * each,
        "worker_peak_mib": after.peak_mib,
    }


def percentiles(seconds: list[float]) -> Figures:
    """Return the median and the tail of times, in milliseconds (nearest rank)."""
    ordered = sorted(seconds)
    ranks = {percent: -(-len(ordered) * percent // 100) for percent in (50, 95, 99)}
    return {f"p{percent}_ms": ordered[rank - 1] * 1000 for percent, rank in ranks.items()}
