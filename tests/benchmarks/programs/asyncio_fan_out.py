"""The fan-out on bare asyncio: a task for each part, gathered."""

import asyncio
import os

from benchmarks import fan_out

SECONDS = float(os.environ["BENCH_STEP_SECONDS"])
BRANCHES = fan_out.branches()


async def work(part: str) -> str:
    """Do one part."""
    await asyncio.sleep(SECONDS)
    return fan_out.worked(part)


async def run(topic: str) -> str:
    """Do one run."""
    done = await asyncio.gather(*map(work, fan_out.parts(topic, BRANCHES)))
    return fan_out.verdict(topic, done, BRANCHES)
