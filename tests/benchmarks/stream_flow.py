"""A workflow whose only step shows tokens, as one that reads a model's answer."""

import asyncio
import time

from fleet import Context, Event, StartEvent, StopEvent, Workflow, step


class Token(Event):
    """A piece of an answer, of about the size that models send."""

    text: str
    number: int
    #: When it was shown, in unix seconds.
    at: float


class StreamFlow(Workflow, workflow="stream"):
    """Shows as many tokens a second as its start event says."""

    @step
    async def tell(self, ctx: Context, ev: StartEvent) -> StopEvent:
        tokens, per_second = ev.get("tokens", 1), ev.get("per_second", 100.0)
        clock = asyncio.get_running_loop().time
        begun = clock()
        for number in range(tokens):
            ctx.write_event_to_stream(Token(text="pirate ", number=number, at=time.time()))
            await asyncio.sleep(begun + (number + 1) / per_second - clock())
        return StopEvent(result=tokens)
