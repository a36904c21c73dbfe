"""Reflection: one step writes, another judges, and the first one revises until it is good."""

from fleet import Context, Event, StartEvent, StopEvent, Workflow, step


class Note(Event):
    text: str
    branch: str = ""


class Draft(Event):
    text: str
    round: int


class Criticism(Event):
    text: str
    missing: list[str]
    round: int


class GaveUp(RuntimeError):
    """Raised when no draft is good enough."""


class Reflection(Workflow):
    most_rounds = 4

    @step
    async def write(self, ctx: Context, ev: StartEvent | Criticism) -> Draft:
        if isinstance(ev, StartEvent):
            await ctx.store.set("wanted", list(ev.wanted))
            ctx.write_event_to_stream(Note(text="first draft"))
            return Draft(text=ev.topic, round=1)
        ctx.write_event_to_stream(Note(text=f"revise: {ev.missing[0]} is missing"))
        return Draft(text=f"{ev.text} {ev.missing[0]}", round=ev.round + 1)

    @step
    async def judge(self, ctx: Context, ev: Draft) -> Criticism | StopEvent:
        wanted = await ctx.store.get("wanted")
        missing = [word for word in wanted if word not in ev.text.split()]
        ctx.write_event_to_stream(Note(text=f"round {ev.round}: {len(missing)} missing"))
        if not missing:
            return StopEvent(result=f"{ev.text} ({ev.round} rounds)")
        if ev.round == self.most_rounds:
            raise GaveUp(f"after {ev.round} rounds without {', '.join(missing)}")
        return Criticism(text=ev.text, missing=missing, round=ev.round)


FLOW = "Reflection"
INPUTS = [
    {"topic": "cats", "wanted": []},
    {"topic": "cats", "wanted": ["cats", "milk", "sleep"]},
    {"topic": "cats", "wanted": ["milk", "sleep", "mice", "sofas", "dogs"]},
]
