"""Runs that show events and are watched by the runner of tests."""

from fleet import Context, Event, StartEvent, StopEvent, Workflow, step


class Greeting(StartEvent):
    name: str = "Ada"


class Said(Event):
    word: str


class Thought(Event):
    word: str


class Done(StopEvent):
    words: int


class Greets(Workflow):
    """Shows events of two types; its result is an event of its own."""

    @step
    async def greet(self, ctx: Context, ev: Greeting) -> Done:
        for word in ("Hello", ev.name):
            ctx.write_event_to_stream(Thought(word=word))
            ctx.write_event_to_stream(Said(word=word))
        await ctx.store.set("said", 2)
        return Done(words=2)


class Stumbles(Workflow):
    """Shows an event and fails."""

    @step
    async def greet(self, ctx: Context, ev: Greeting) -> Done:
        ctx.write_event_to_stream(Said(word="Hel"))
        raise LookupError("no more words")
