"""How runs end, and what their streams show."""

from pydantic import Field

from behaviour import gates
from fleet import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)


class Note(Event):
    """What a step says that it did."""

    text: str


class A(Event):
    key: str = ""


class B(Event):
    key: str = ""


class Verdict(StopEvent):
    score: int
    reasons: list[str] = Field(default_factory=list)


class Topic(StartEvent):
    topic: str


class PlainResult(Workflow):
    """A run's result is what a plain stop event holds."""

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=ev.get("answer"))


class TypedEnds(Workflow):
    """Starts and ends with events of its own."""

    @step
    async def begin(self, ctx: Context, ev: Topic) -> Verdict:
        ctx.write_event_to_stream(Note(text="judging"))
        return Verdict(score=len(ev.topic), reasons=["length"])


class TwoResults(Workflow):
    """Has two kinds of result."""

    @step
    async def begin(self, ev: StartEvent) -> Verdict | StopEvent:
        return Verdict(score=1) if ev.get("judge") else StopEvent(result="not judged")


class FreeResult(Workflow):
    """Its stop event has a free field beside the result."""

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=1, cost=0.5)


class SentResult(Workflow):
    """Sends its stop event."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
        ctx.send_event(StopEvent(result="sent"))
        return None


class Siblings(Workflow):
    """A step ends the run while another is at work."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | B:
        ctx.send_event(A(key=ev.key))
        return B(key=ev.key)

    @step
    async def slow(self, ctx: Context, ev: A) -> StopEvent:
        ctx.write_event_to_stream(Note(text="begun"))
        gates.open_gate(f"{ev.key}begun")
        try:
            await gates.at_gate(f"{ev.key}never")
        finally:
            # It was cancelled: no reader sees this any more.
            gates.open_gate(f"{ev.key}cancelled")
            ctx.write_event_to_stream(Note(text="too late"))
        return StopEvent(result="slow")

    @step
    async def fast(self, ev: B) -> StopEvent:
        await gates.at_gate(f"{ev.key}begun")
        return StopEvent(result="fast")


class FirstResultWins(Workflow):
    """Two steps end the run, one after the other."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | B:
        ctx.send_event(A(key=ev.key))
        return B(key=ev.key)

    @step
    async def first(self, ev: A) -> StopEvent:
        gates.open_gate_after_me(f"{ev.key}first")
        return StopEvent(result="first")

    @step
    async def second(self, ev: B) -> StopEvent:
        await gates.at_gate(f"{ev.key}first")
        return StopEvent(result="second")


class Shows(Workflow):
    """Shows events from two steps, one after the other."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A:
        for number in range(3):
            ctx.write_event_to_stream(Note(text=f"begin {number}"))
        return A()

    @step
    async def end(self, ctx: Context, ev: A) -> StopEvent:
        ctx.write_event_to_stream(Note(text="end"))
        return StopEvent(result=None)


class ShowsABareEvent(Workflow):
    """Shows an event of no class of its own."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ctx.write_event_to_stream(Event(free="field"))
        return StopEvent(result=None)


class ShowsAndFails(Workflow):
    """Shows an event, and raises."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ctx.write_event_to_stream(Note(text="before"))
        raise LookupError("no such topic")


class TakesLong(Workflow):
    """Shows an event, and never ends."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ctx.write_event_to_stream(Note(text="before"))
        await gates.at_gate("never")
        return StopEvent()


class WaitsToBeCancelled(Workflow):
    """Never ends by itself."""

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        gates.open_gate(f"{ev.key}begun")
        await gates.at_gate("never")
        return StopEvent()


class AsksAPerson(Workflow):
    """Waits for an answer that does not come."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await ctx.wait_for_event(HumanResponseEvent, waiter_event=InputRequiredEvent(prefix="?"))
        return StopEvent()


class AsksInVain(AsksAPerson):
    """Its time is up before the answer comes."""


OPTIONS = {"AsksInVain": {"timeout": 0.5}, "TakesLong": {"timeout": 0.5}}
