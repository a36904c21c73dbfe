"""Map and reduce: a list of chunks fans out, each is summarised, and a join adds up."""

from fleet import Context, Event, StartEvent, StopEvent, Workflow, step


class Note(Event):
    text: str
    branch: str = ""


class Document(StartEvent):
    text: str
    size: int = 3


class Chunk(Event):
    number: int
    words: list[str]


class Summary(Event):
    number: int
    counts: dict[str, int]


class Report(StopEvent):
    chunks: int
    counts: dict[str, int]


class EmptyChunk(ValueError):
    """Raised when a chunk has a word that cannot be counted."""


class MapReduce(Workflow):
    @step
    async def split(self, ctx: Context, ev: Document) -> list[Chunk]:
        words = ev.text.split()
        await ctx.store.set("words", len(words))
        ctx.write_event_to_stream(Note(text=f"{len(words)} words"))
        chunks = [words[at : at + ev.size] for at in range(0, len(words), ev.size)]
        return [Chunk(number=number, words=chunk) for number, chunk in enumerate(chunks)]

    @step(num_workers=4)
    async def summarise(self, ctx: Context, ev: Chunk) -> Summary:
        branch = f"chunk {ev.number}"
        ctx.write_event_to_stream(Note(text="reading", branch=branch))
        if "boom" in ev.words:
            raise EmptyChunk(f"chunk {ev.number} cannot be read")
        counts = {word: ev.words.count(word) for word in ev.words}
        ctx.write_event_to_stream(Note(text=f"{len(counts)} different", branch=branch))
        return Summary(number=ev.number, counts=counts)

    @step
    async def reduce(self, ctx: Context, summaries: list[Summary]) -> Report:
        ctx.write_event_to_stream(Note(text=f"{await ctx.store.get('words')} words read"))
        total: dict[str, int] = {}
        for summary in sorted(summaries, key=lambda each: each.number):
            for word, count in summary.counts.items():
                total[word] = total.get(word, 0) + count
        return Report(chunks=len(summaries), counts=total)


FLOW = "MapReduce"
INPUTS = [
    {"text": "a rose is a rose is a rose and no tulip is a rose"},
    {"text": ""},
    {"text": "a b c d boom", "size": 10},
]
