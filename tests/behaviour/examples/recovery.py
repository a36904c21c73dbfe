"""Recovery: sources are asked in turn, failures are caught, and the answer says what was missed."""

from fleet import (
    Context,
    Event,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    catch_error,
    step,
)


class Note(Event):
    text: str
    branch: str = ""


class Query(Event):
    source: str
    topic: str


class Page(Event):
    source: str
    text: str


class Answer(Event):
    text: str
    sources: list[str]


class SourceDown(ConnectionError):
    """Raised if a source cannot be asked."""

    def __init__(self, source: str, status: int) -> None:
        super().__init__(f"{source} answers {status}")
        self.source = source
        self.status = status


class Unanswerable(RuntimeError):
    """Raised if no source knows anything."""


class Recovery(Workflow):
    """A mirror answers for the archive; a source that has none is left out."""

    mirrors = {"archive": "mirror"}  # noqa: RUF012 - as an example has it

    @step
    async def plan(self, ctx: Context, ev: StartEvent) -> list[Query]:
        await ctx.store.set("down", list(ev.down))
        await ctx.store.set("picky", ev.get("picky", False))
        return [Query(source=name, topic=ev.topic) for name in ("archive", "news", "wiki")]

    @step
    async def ask(self, ctx: Context, ev: Query) -> Page:
        ctx.write_event_to_stream(Note(text=f"ask {ev.source}", branch=ev.source))
        if ev.source in await ctx.store.get("down"):
            raise SourceDown(ev.source, 503)
        return Page(source=ev.source, text=f"{ev.topic} in {ev.source}")

    @catch_error(for_steps=["ask"], max_recoveries=2)
    async def another_source(self, ctx: Context, ev: StepFailedEvent) -> Query | None:
        assert isinstance(ev.input_event, Query)
        assert isinstance(ev.exception, SourceDown)
        told = f"{ev.exception.source} is down: {ev.exception.status}"
        ctx.write_event_to_stream(Note(text=told, branch=ev.input_event.source))
        mirror = self.mirrors.get(ev.input_event.source)
        return Query(source=mirror, topic=ev.input_event.topic) if mirror else None

    @step
    async def merge(self, ctx: Context, pages: list[Page]) -> Answer:
        if not pages:
            raise Unanswerable("no source answers")
        texts = sorted(page.text for page in pages)
        return Answer(text="; ".join(texts), sources=sorted(page.source for page in pages))

    @step
    async def check(self, ctx: Context, ev: Answer) -> StopEvent:
        if await ctx.store.get("picky") and len(ev.sources) < 3:
            raise ValueError(f"only {len(ev.sources)} sources")
        return StopEvent(result=ev.text)

    @catch_error
    async def apologise(self, ctx: Context, ev: StepFailedEvent) -> StopEvent:
        ctx.write_event_to_stream(Note(text=f"{ev.step_name} failed {ev.attempts} time"))
        if isinstance(ev.exception, Unanswerable):
            raise ev.exception
        return StopEvent(result=f"sorry: {ev.exception}")


FLOW = "Recovery"
INPUTS = [
    {"topic": "cats", "down": []},
    {"topic": "cats", "down": ["archive"]},
    {"topic": "cats", "down": ["archive", "mirror", "wiki"]},
    {"topic": "cats", "down": ["news"], "picky": True},
    {"topic": "cats", "down": ["archive", "mirror", "news", "wiki"]},
]
