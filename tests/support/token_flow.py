"""A workflow that shows tokens at its own pace: `faust -A token_flow worker`."""

import asyncio
import time
from uuid import uuid4

from fleet import Context, Event, StartEvent, StopEvent, Workflow, serve, step


class Token(Event):
    #: Of the attempt that shows it, and its place there, from 0.
    attempt: str
    number: int
    #: When it was shown, in unix seconds.
    at: float = 0.0


class Ask(StartEvent):
    tokens: int
    #: Between two tokens.
    pause_seconds: float


class Told(StopEvent):
    #: Of the attempt that ended the run, and how many tokens it showed.
    attempt: str
    tokens: int


class TokenFlow(Workflow[Told]):
    @step
    async def tell(self, ctx: Context, ev: Ask) -> Told:
        attempt = uuid4().hex
        for number in range(ev.tokens):
            ctx.write_event_to_stream(Token(attempt=attempt, number=number, at=time.time()))
            await asyncio.sleep(ev.pause_seconds)
        return Told(attempt=attempt, tokens=ev.tokens)


app = serve(TokenFlow)
