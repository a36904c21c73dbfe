"""The fan-out on Fleet: a list, a step for each of its members, a join of all."""

import asyncio
import os

from benchmarks import fan_out
from fleet import Event, StopEvent, Workflow, step

SECONDS = float(os.environ.get("BENCH_STEP_SECONDS", "0"))
BRANCHES = fan_out.branches()


class StartEvent(Event):
    topic: str


class PartEvent(Event):
    topic: str
    part: str


class DoneEvent(Event):
    topic: str
    done: str


class FanOutFlow(Workflow[str]):
    @step
    async def split(self, ev: StartEvent) -> list[PartEvent]:
        return [PartEvent(topic=ev.topic, part=part) for part in fan_out.parts(ev.topic, BRANCHES)]

    @step(num_workers=BRANCHES)
    async def work(self, ev: PartEvent) -> DoneEvent:
        await asyncio.sleep(SECONDS)
        return DoneEvent(topic=ev.topic, done=fan_out.worked(ev.part))

    @step
    async def join(self, found: list[DoneEvent]) -> StopEvent:
        done = [one.done for one in found]
        return StopEvent(result=fan_out.verdict(found[0].topic, done, BRANCHES))
