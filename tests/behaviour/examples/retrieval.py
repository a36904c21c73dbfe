"""Parallel retrieval: several sources are asked, the first answers are ranked, all are counted."""

from typing import Annotated

from fleet import Collect, Context, Event, StartEvent, StopEvent, Take, Workflow, step


class Note(Event):
    text: str
    branch: str = ""


class Ask(Event):
    source: str
    query: str


class Found(Event):
    source: str
    hits: list[str]


class Ranked(Event):
    best: list[str]


class Counted(Event):
    sources: int


class SourceDown(ConnectionError):
    """Raised when a source does not answer."""


class Retrieval(Workflow):
    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> list[Ask]:
        ctx.write_event_to_stream(Note(text=f"asking {len(ev.sources)}"))
        return [Ask(source=source, query=ev.query) for source in ev.sources]

    @step
    async def search(self, ctx: Context, ev: Ask) -> Found | None:
        ctx.write_event_to_stream(Note(text="searching", branch=ev.source))
        if ev.source == "down":
            raise SourceDown(f"{ev.source} does not answer {ev.query!r}")
        if ev.source == "empty":
            return None
        ctx.write_event_to_stream(Note(text="found", branch=ev.source))
        return Found(source=ev.source, hits=[f"{ev.query} in {ev.source}"])

    @step
    async def rank(self, first: Annotated[list[Found], Collect(Take(2))]) -> Ranked:
        return Ranked(best=[f"{len(each.hits)} hit" for each in first])

    @step
    async def count(self, found: list[Found]) -> Counted:
        return Counted(sources=len(found))

    @step
    async def answer(self, ranked: Ranked, counted: Counted) -> StopEvent:
        return StopEvent(result={"best": ranked.best, "sources": counted.sources})


FLOW = "Retrieval"
INPUTS = [
    {"query": "cats", "sources": ["web", "wiki", "mail", "empty"]},
    {"query": "cats", "sources": ["web"]},
    {"query": "cats", "sources": []},
    {"query": "cats", "sources": ["down"]},
]
