"""
Parallel retrieval: sources are searched at once, and the first two that find something count.

A source that is slow delays no answer, and one that is down is left out.

    faust -A retrieval worker
    fleet run retrieval:Ask text="What is a dead letter?"
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, ClassVar

from tenacity import stop_after_attempt, wait_fixed

from fleet import (
    LLM,
    Collect,
    Context,
    Event,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Take,
    Workflow,
    catch_error,
    retry_policy,
    serve,
    step,
)

#: Finds passages for a question.
Source = Callable[[str], Awaitable[list[str]]]
COMMON = {"a", "an", "and", "how", "is", "of", "the", "what", "why"}
DOCS = Path(__file__).parents[1]


def paragraphs(place: Path, question: str, most: int = 3) -> list[str]:
    """Return the paragraphs of a folder's pages that have most words of *question*."""
    words = {word for word in question.lower().strip("?").split() if word not in COMMON}
    hits = {
        text: len(words & {*text.lower().split()})
        for page in sorted(place.glob("*.md"))
        for text in page.read_text().split("\n\n")
    }
    found = [text for text in hits if hits[text]]
    return sorted(found, key=lambda text: (-hits[text], len(text)))[:most]


def folder(place: Path) -> Source:
    """Return a source: the pages of a folder, read in a thread."""

    async def search(question: str) -> list[str]:
        return await asyncio.to_thread(paragraphs, place, question)

    return search


class Question(StartEvent):
    text: str


class Search(Event):
    source: str
    text: str


class Found(Event):
    source: str
    passages: list[str]


class Answer(StopEvent):
    text: str
    sources: list[str]


class Ask(Workflow[Answer]):
    """`run(text="...")` gives an Answer that names its sources."""

    llm = LLM(temperature=0)
    sources: ClassVar[dict[str, Source]] = {
        "docs": folder(DOCS),
        "runbooks": folder(DOCS / "runbooks"),
        "project": folder(DOCS.parent),
    }

    @step
    async def fan_out(self, ctx: Context, ev: Question) -> list[Search]:
        """Send one event for each source: they are searched at once, by any worker."""
        await ctx.store.set("question", ev.text)
        return [Search(source=source, text=ev.text) for source in self.sources]

    @step(
        num_workers=8,
        timeout=30,
        retry_policy=retry_policy(wait=wait_fixed(1), stop=stop_after_attempt(3)),
    )
    async def search(self, ev: Search) -> Found | None:
        """Search one source; None ends the branch of a source that has nothing."""
        passages = await self.sources[ev.source](ev.text)
        return Found(source=ev.source, passages=passages) if passages else None

    @catch_error(for_steps=["search"])
    async def leave_out(self, ctx: Context, ev: StepFailedEvent) -> None:
        """Do without a source that is down: its branch ends here, and the run goes on."""
        ctx.log.warning("source_left_out", error=str(ev.exception))

    @step
    async def answer(self, ctx: Context, found: Annotated[list[Found], Collect(Take(2))]) -> Answer:
        """Write the answer: this begins with the second source, or when all have ended."""
        passages = "\n\n".join(passage for each in found for passage in each.passages)
        question = await ctx.store.get("question")
        text = await self.llm.complete(f"Answer from these passages: {question}\n\n{passages}")
        return Answer(text=str(text), sources=sorted(each.source for each in found))


app = serve(Ask)
