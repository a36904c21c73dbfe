"""
A workflow that some inputs stop until it is repaired: `faust -A poison_flow worker`.

POISON_FIX names a file; while it is missing, a topic with "poisoned" makes the second step fail,
and one with "garbled" cannot be decoded. POISON_SECONDS is how long the second step takes for a
topic with "slow", which it shows on the stream first. Where POISON_FIX is not set, as for a caller,
nothing is wrong.
"""

import asyncio
import os
from pathlib import Path

from pydantic import field_validator

from fleet import Context, Event, StartEvent, StopEvent, Workflow, serve, step

FIX = os.environ.get("POISON_FIX")
SECONDS = float(os.environ.get("POISON_SECONDS", "0"))


def repaired() -> bool:
    return FIX is None or Path(FIX).exists()


class Asked(StartEvent):
    topic: str

    @field_validator("topic")
    @classmethod
    def _can_be_read(cls, topic: str) -> str:
        if "garbled" in topic and not repaired():
            raise ValueError("this version cannot read it")
        return topic


class Told(Event):
    topic: str


class Judged(StopEvent):
    verdict: str


class PoisonFlow(Workflow, workflow="poison"):
    @step
    async def tell(self, ev: Asked) -> Told:
        return Told(topic=ev.topic)

    @step
    async def judge(self, ctx: Context, ev: Told) -> Judged:
        if "poisoned" in ev.topic and not repaired():
            raise LookupError("no judge for it")
        if "slow" in ev.topic:
            await ctx.write_event_to_stream(ev)
            await asyncio.sleep(SECONDS)
        audience = await ctx.store.get("audience.who", "")
        return Judged(verdict=f"good: {ev.topic}" + (f" for {audience}" if audience else ""))


app = serve(PoisonFlow)
