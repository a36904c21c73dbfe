"""
A router with a reflection loop.

A model decides which way a question goes. A simple one is answered at once. For any other the model
writes a draft and criticises it, until it finds nothing more to criticise or has had three rounds.

    faust -A router worker
    fleet run router:Desk text="Why does my invoice have two amounts?"
"""

from fleet import LLM, Context, Event, StartEvent, StopEvent, Workflow, serve, step


class Question(StartEvent):
    text: str


class Simple(Event):
    text: str


class Hard(Event):
    text: str


class Draft(Event):
    question: str
    text: str
    round: int = 1


class Criticism(Event):
    draft: Draft
    text: str


class Answer(StopEvent):
    text: str
    #: How many drafts it took.
    rounds: int


class Desk(Workflow[Answer]):
    """`run(text="...")` gives an Answer."""

    llm = LLM(temperature=0)
    most_rounds = 3

    @step
    async def route(self, ev: Question) -> Simple | Hard:
        """Choose the branch: what a step returns decides which step is next."""
        kind = await self.llm.complete(
            f"Is this question simple or hard? Say one of these words.\n\n{ev.text}"
        )
        # Anything but a clear word takes the careful way.
        is_simple = str(kind).strip(" .").lower() == "simple"
        return Simple(text=ev.text) if is_simple else Hard(text=ev.text)

    @step
    async def reply(self, ev: Simple) -> Answer:
        """Answer at once."""
        text = await self.llm.complete(f"Answer in one sentence: {ev.text}")
        return Answer(text=str(text), rounds=0)

    @step
    async def write(self, ev: Hard | Criticism) -> Draft:
        """Write the first draft, or a better one."""
        if isinstance(ev, Hard):
            text = await self.llm.complete(f"Answer with care: {ev.text}")
            return Draft(question=ev.text, text=str(text))
        text = await self.llm.complete(
            f"Improve this answer.\n\n{ev.draft.text}\n\nWhat is wrong with it: {ev.text}"
        )
        return ev.draft.model_copy(update={"text": str(text), "round": ev.draft.round + 1})

    @step
    async def judge(self, ctx: Context, ev: Draft) -> Criticism | Answer:
        """Criticise a draft; the event itself counts the rounds, so the loop has an end."""
        if ev.round < self.most_rounds:
            found = await self.llm.complete(
                f"What is wrong with this answer to {ev.question!r}? Say OK if nothing is."
                f"\n\n{ev.text}"
            )
            if str(found).strip(" .") != "OK":
                criticism = Criticism(draft=ev, text=str(found))
                # The caller sees what goes on: `async for event in handler.stream_events()`.
                ctx.write_event_to_stream(criticism)
                return criticism
        return Answer(text=ev.text, rounds=ev.round)


app = serve(Desk)
