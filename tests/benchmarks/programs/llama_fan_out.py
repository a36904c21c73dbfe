# mypy: disable-error-code="import-not-found, misc, untyped-decorator"
# It is checked also where the package is not installed.
"""The fan-out on LlamaIndex Workflows: its own list and its own join."""

import asyncio
import os

from workflows import Workflow, step
from workflows.events import Event, StartEvent, StopEvent

from benchmarks import fan_out

SECONDS = float(os.environ["BENCH_STEP_SECONDS"])
BRANCHES = fan_out.branches()


class PartEvent(Event):
    topic: str
    part: str


class DoneEvent(Event):
    topic: str
    done: str


class FanOutFlow(Workflow):
    @step
    async def split(self, ev: StartEvent) -> list[PartEvent]:
        return [PartEvent(topic=ev.topic, part=part) for part in fan_out.parts(ev.topic, BRANCHES)]

    # With more at work it takes longer: see docs/benchmarks.md.
    @step(num_workers=min(BRANCHES, 100))
    async def work(self, ev: PartEvent) -> DoneEvent:
        await asyncio.sleep(SECONDS)
        return DoneEvent(topic=ev.topic, done=fan_out.worked(ev.part))

    @step
    async def join(self, found: list[DoneEvent]) -> StopEvent:
        done = [one.done for one in found]
        return StopEvent(result=fan_out.verdict(found[0].topic, done, BRANCHES))


flow = FanOutFlow(timeout=None)


async def run(topic: str) -> str:
    """Do one run."""
    return str(await flow.run(topic=topic))
