"""A typed state that parallel steps count in, each edit by itself."""

from pydantic import BaseModel, Field

from fleet import Context, Event, StartEvent, StopEvent, Workflow, step


class Note(Event):
    text: str
    branch: str = ""


class Tally(BaseModel):
    total: int = 0
    by_letter: dict[str, int] = Field(default_factory=dict)
    longest: str = ""


class Word(Event):
    number: int
    text: str


class Counted(Event):
    number: int


class NoWords(ValueError):
    """Raised when there is nothing to count."""


class Counter(Workflow):
    @step
    async def split(self, ctx: Context[Tally], ev: StartEvent) -> Word | None:
        words = ev.text.split()
        if not words:
            raise NoWords(repr(ev.text))
        await ctx.store.set("longest", max(words, key=len))
        for number, word in enumerate(words):
            ctx.send_event(Word(number=number, text=word))
        return None

    @step(num_workers=4)
    async def count(self, ctx: Context[Tally], ev: Word) -> Counted:
        async with ctx.store.edit_state() as tally:
            tally.total += len(ev.text)
            tally.by_letter[ev.text[0]] = tally.by_letter.get(ev.text[0], 0) + 1
        ctx.write_event_to_stream(Note(text="counted", branch=f"{ev.number} {ev.text}"))
        return Counted(number=ev.number)

    @step
    async def gather(self, ctx: Context[Tally], ev: Counted) -> StopEvent | None:
        tally = await ctx.store.get_state()
        words = len((await ctx.store.get("longest")).split())
        done = ctx.collect_events(ev, [Counted] * 5)
        if done is None:
            return None
        tally = await ctx.store.get_state()
        letters = dict(sorted(tally.by_letter.items()))
        return StopEvent(result=[tally.total, letters, tally.longest, words])


FLOW = "Counter"
INPUTS = [{"text": "big bad wolves bite bears"}, {"text": "a a a a a"}, {"text": ""}]
