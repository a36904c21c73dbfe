"""A fan-out in a fan-out: chapters of sections, joined by chapter and then as a book."""

from fleet import Context, Event, StartEvent, StopEvent, Workflow, step


class Note(Event):
    text: str
    branch: str = ""


class Chapter(Event):
    number: int
    sections: int


class Section(Event):
    chapter: int
    number: int


class Text(Event):
    chapter: int
    number: int
    words: int


class Bound(Event):
    chapter: int
    words: int


class Censored(PermissionError):
    """Raised when a section may not be written."""


class Chapters(Workflow):
    @step
    async def plan(self, ctx: Context, ev: StartEvent) -> list[Chapter]:
        ctx.write_event_to_stream(Note(text=f"{len(ev.chapters)} chapters"))
        return [Chapter(number=n, sections=count) for n, count in enumerate(ev.chapters)]

    @step
    async def outline(self, ctx: Context, ev: Chapter) -> list[Section]:
        ctx.write_event_to_stream(Note(text="outline", branch=f"chapter {ev.number}"))
        return [Section(chapter=ev.number, number=n) for n in range(ev.sections)]

    @step
    async def write(self, ctx: Context, ev: Section) -> Text | None:
        branch = f"section {ev.chapter}.{ev.number}"
        ctx.write_event_to_stream(Note(text="write", branch=branch))
        if ev.number == 13:
            raise Censored(branch)
        return None if ev.number == 4 else Text(**ev.model_dump(), words=10 + ev.number)

    @step
    async def bind(self, ctx: Context, texts: list[Text]) -> Bound:
        chapter = texts[0].chapter if texts else -1
        ctx.write_event_to_stream(Note(text="bind", branch=f"chapter {chapter}"))
        return Bound(chapter=chapter, words=sum(each.words for each in texts))

    @step
    async def publish(self, ctx: Context, bound: list[Bound]) -> StopEvent:
        ctx.write_event_to_stream(Note(text="publish"))
        return StopEvent(result=sorted([each.chapter, each.words] for each in bound))


FLOW = "Chapters"
INPUTS = [{"chapters": [2, 1, 5]}, {"chapters": [0, 1]}, {"chapters": []}, {"chapters": [14]}]
