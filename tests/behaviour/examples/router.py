"""A router: the start decides which of two branches a run takes, and one of them loops."""

import random

from fleet import Context, Event, StartEvent, StopEvent, Workflow, step


class Note(Event):
    text: str
    branch: str = ""


class Question(Event):
    text: str


class Smalltalk(Event):
    text: str


class Lookup(Event):
    text: str
    tries: int


class UnknownTopic(Exception):
    """Raised when a question is about nothing that is known."""


class Router(Workflow):
    @step
    async def classify(self, ctx: Context, ev: StartEvent) -> Question | Smalltalk:
        ctx.write_event_to_stream(Note(text=f"classify {ev.message}"))
        if ev.message.endswith("?"):
            return Question(text=ev.message)
        return Smalltalk(text=ev.message)

    @step
    async def prepare(self, ctx: Context, ev: Question) -> Lookup:
        ctx.write_event_to_stream(Note(text="prepare"))
        return Lookup(text=ev.text, tries=random.Random(ev.text).randint(1, 3))

    @step
    async def look_up(self, ctx: Context, ev: Lookup) -> Lookup | StopEvent:
        ctx.write_event_to_stream(Note(text=f"look up, {ev.tries} to go"))
        if "nothing" in ev.text:
            raise UnknownTopic(ev.text)
        if ev.tries:
            return Lookup(text=ev.text, tries=ev.tries - 1)
        return StopEvent(result={"kind": "answer", "text": f"about {ev.text}"})

    @step
    async def chat(self, ctx: Context, ev: Smalltalk) -> StopEvent:
        ctx.write_event_to_stream(Note(text="chat"))
        return StopEvent(result={"kind": "chat", "text": ev.text.upper()})


FLOW = "Router"
INPUTS = [{"message": "Why is it dark?"}, {"message": "hello"}, {"message": "nothing?"}]
