"""A workflow whose fan-outs its start event plans: what comes of any plan can be computed."""

from random import Random
from typing import Annotated, Any

from fleet import Collect, Context, Event, StartEvent, StopEvent, Take, Workflow, step

#: A join of sections takes so many at most.
MOST = 3


class Note(Event):
    """What a step says that it did."""

    text: str


class Plan(StartEvent):
    #: Of each chapter None, or its sections; of each section None, or how many paragraphs it has.
    chapters: list[list[int | None] | None]


class Chapter(Event):
    number: int
    sections: list[int | None] | None


class Section(Event):
    chapter: int
    paragraphs: int | None


class Paragraph(Event):
    chapter: int
    number: int


class Written(Event):
    chapter: int


class SectionDone(Event):
    chapter: int
    paragraphs: int


class Bound(Event):
    chapter: int
    sections: int


class Planned(Workflow):
    """Writes a book of chapters of sections of paragraphs."""

    @step
    async def plan(self, ev: Plan) -> list[Chapter]:
        return [Chapter(number=n, sections=sections) for n, sections in enumerate(ev.chapters)]

    @step
    async def outline(self, ev: Chapter) -> list[Section] | None:
        if ev.sections is None:
            return None
        return [Section(chapter=ev.number, paragraphs=count) for count in ev.sections]

    @step
    async def section(self, ev: Section) -> list[Paragraph] | None:
        if ev.paragraphs is None:
            return None
        return [Paragraph(chapter=ev.chapter, number=n) for n in range(ev.paragraphs)]

    @step
    async def write(self, ev: Paragraph) -> Written | None:
        return None if ev.number % 3 == 2 else Written(chapter=ev.chapter)

    @step
    async def end_section(self, ctx: Context, written: list[Written]) -> SectionDone:
        ctx.write_event_to_stream(Note(text=f"section of {len(written)}"))
        chapter = written[0].chapter if written else -1
        return SectionDone(chapter=chapter, paragraphs=len(written))

    @step
    async def bind(
        self, ctx: Context, done: Annotated[list[SectionDone], Collect(Take(MOST))]
    ) -> Bound:
        ctx.write_event_to_stream(Note(text="chapter"))
        chapter = max((each.chapter for each in done), default=-1)
        return Bound(chapter=chapter, sections=len(done))

    @step
    async def publish(self, ctx: Context, bound: list[Bound]) -> StopEvent:
        ctx.write_event_to_stream(Note(text="book"))
        return StopEvent(result=sorted(each.sections for each in bound))


def a_plan(seed: int) -> list[Any]:
    """Return a plan of up to five chapters."""
    random = Random(seed)
    return [_chapter(random) for _ in range(random.randrange(6))]


def _chapter(random: Random) -> Any:
    if random.randrange(5) == 0:
        return None
    return [random.choice([None, 0, 1, 2, 3, 4]) for _ in range(random.randrange(6))]


def comes_to(plan: list[Any]) -> list[int]:
    """Return the result of a plan."""
    chapters = [sections for sections in plan if sections is not None]
    return sorted(min(MOST, sum(each is not None for each in sections)) for sections in chapters)
