"""
Map and reduce: a model summarises every page of a folder, then the summaries.

    faust -A map_reduce worker
    fleet run map_reduce:Digest
"""

from pathlib import Path

import openai
from tenacity import retry_if_exception_type, stop_after_attempt, wait_random_exponential

from fleet import LLM, Event, StartEvent, StopEvent, Workflow, retry_policy, serve, step

#: The pages of this repository.
DOCS = Path(__file__).parents[1]


class Folder(StartEvent):
    #: Which pages of DOCS.
    pattern: str = "*.md"


class Page(Event):
    #: Where the text is, and not the text: events are small, and every worker can read DOCS.
    name: str


class Summary(Event):
    name: str
    text: str


class Overview(StopEvent):
    pages: int
    text: str


class Digest(Workflow[Overview]):
    """`run()` gives an Overview of the folder."""

    llm = LLM(temperature=0, max_retries=0)
    #: What of a page and of a summary goes to the model, in characters.
    most_of_page, most_of_summary = 20_000, 500

    @step
    async def split(self, ev: Folder) -> list[Page]:
        """Map: one event for each page."""
        return [Page(name=page.name) for page in sorted(DOCS.glob(ev.pattern))]

    @step(
        num_workers=8,
        retry_policy=retry_policy(
            retry=retry_if_exception_type(openai.APIError),
            wait=wait_random_exponential(multiplier=0.5, max=30),
            stop=stop_after_attempt(5),
        ),
    )
    async def summarise(self, ev: Page) -> Summary:
        """Summarise one page: eight of them at once, and a page is paid once."""
        text = (DOCS / ev.name).read_text()[: self.most_of_page]
        answer = await self.llm.complete(f"Summarise the page {ev.name}:\n\n{text}")
        return Summary(name=ev.name, text=str(answer)[: self.most_of_summary])

    @step
    async def reduce(self, summaries: list[Summary]) -> Overview:
        """Reduce: this begins when every page has its summary."""
        # They come in the order in which they were finished.
        ordered = sorted(summaries, key=lambda summary: summary.name)
        listed = "\n\n".join(f"{summary.name}: {summary.text}" for summary in ordered)
        answer = await self.llm.complete(f"Write an overview of these pages:\n\n{listed}")
        return Overview(pages=len(ordered), text=str(answer))


app = serve(Digest)
