"""A workflow whose runs do what their start event says: `faust -A call_flow worker`."""

import asyncio

from fleet import Context, Event, StartEvent, StopEvent, Workflow, serve, step


class Token(Event):
    number: int


class Next(Event):
    nothing: bool = False


class Answer(Event):
    text: str


class Stray(Event):
    """No step takes it."""


class CallFlow(Workflow, workflow="calls"):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Next | Answer | None:
        what = ev.get("do")
        if what == "wait":
            return None
        if what == "stray":
            ctx.send_event(Stray())
            ctx.send_event(Next(), step="end" if ev.get("to") is None else ev.get("to"))
            return None
        if what == "sleep":
            await asyncio.sleep(ev.get("seconds"))
        for number in range(ev.get("tokens", 0)):
            await ctx.write_event_to_stream(Token(number=number))
        if what == "skip":
            return StopEvent(result="skipped")  # type: ignore[return-value]  # what is tested
        if what == "echo":
            return Answer(text=str({**ev.model_extra} if ev.model_extra else {}))
        return Next(nothing=what == "nothing")

    @step
    async def end(self, ev: Next) -> StopEvent:
        if ev.nothing:
            return None  # type: ignore[return-value]  # what is tested
        return StopEvent(result="done")

    @step
    async def answer(self, ev: Answer) -> StopEvent:
        return StopEvent(result=ev.text)


app = serve(CallFlow)
