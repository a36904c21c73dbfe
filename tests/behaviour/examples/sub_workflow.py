"""A sub-workflow: a step runs another workflow, passes on what that shows, and uses its result."""

import asyncio

from fleet import Context, Event, StartEvent, StopEvent, Workflow, step


class Note(Event):
    text: str
    branch: str = ""


class Section(Event):
    title: str


class Written(Event):
    title: str
    text: str


class Sources(StopEvent):
    pages: list[str]


class NoSources(LookupError):
    """Raised when nothing is known about a title."""


class Research(Workflow):
    """Finds sources; it is a workflow of its own, and may be run as one."""

    @step
    async def look(self, ctx: Context, ev: StartEvent) -> Section:
        ctx.write_event_to_stream(Note(text=f"look for {ev.title}", branch=ev.title))
        return Section(title=ev.title)

    @step
    async def read(self, ctx: Context, ev: Section) -> Sources:
        if ev.title == "nothing":
            raise NoSources(f"no page about {ev.title}")
        if ev.title == "everything":
            await asyncio.Event().wait()
        ctx.write_event_to_stream(Note(text=f"read about {ev.title}", branch=ev.title))
        return Sources(pages=[f"{ev.title} {number}" for number in (1, 2)])


class Essay(Workflow):
    research = Research(timeout=5)
    hasty = Research(timeout=0.5)

    @step
    async def plan(self, ctx: Context, ev: StartEvent) -> list[Section]:
        ctx.write_event_to_stream(Note(text=f"{len(ev.titles)} sections"))
        return [Section(title=title) for title in ev.titles]

    @step(num_workers=4)
    async def write(self, ctx: Context, ev: Section) -> Written:
        child = self.hasty if ev.title == "everything" else self.research
        running = child.run(title=ev.title)
        async for event in running.stream_events():
            if isinstance(event, Note):
                ctx.write_event_to_stream(event)
        sources = await running
        ctx.write_event_to_stream(Note(text=f"write {ev.title}", branch=ev.title))
        return Written(title=ev.title, text=", ".join(sources.pages))

    @step
    async def bind(self, ctx: Context, written: list[Written]) -> StopEvent:
        return StopEvent(result={each.title: each.text for each in written})


FLOW = "Essay"
INPUTS = [
    {"titles": ["cats", "dogs"]},
    {"titles": []},
    {"titles": ["nothing"]},
    {"titles": ["everything"]},
]
