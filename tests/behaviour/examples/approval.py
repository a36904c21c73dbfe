"""Human approval: a step asks a person and waits, revises if it has to, and goes on."""

from fleet import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)


class Note(Event):
    text: str
    branch: str = ""


class Review(InputRequiredEvent):
    draft: str
    round: int


class Verdict(HumanResponseEvent):
    approved: bool
    round: int
    remark: str = ""


class Draft(Event):
    text: str
    round: int


class Rejected(RuntimeError):
    """Raised when the person does not want any draft."""


class Approval(Workflow):
    most_rounds = 3

    @step
    async def write(self, ctx: Context, ev: StartEvent) -> Draft:
        await ctx.store.set("topic", ev.topic)
        return Draft(text=f"about {ev.topic}", round=1)

    @step
    async def ask(self, ctx: Context, ev: Draft) -> Draft | StopEvent:
        verdict = await ctx.wait_for_event(
            Verdict,
            waiter_event=Review(draft=ev.text, round=ev.round),
            waiter_id=f"round {ev.round}",
            requirements={"round": ev.round},
        )
        ctx.write_event_to_stream(Note(text=f"round {ev.round}: {verdict.approved}"))
        if verdict.approved:
            topic = await ctx.store.get("topic")
            return StopEvent(result=f"{topic}: {ev.text} ({ev.round} rounds)")
        if ev.round == self.most_rounds:
            raise Rejected(verdict.remark)
        return Draft(text=f"{ev.text}, {verdict.remark}", round=ev.round + 1)


FLOW = "Approval"
INPUTS = [{"topic": "cats"}, {"topic": "dogs"}, {"topic": "mice"}]
#: What the person answers to each question, by topic.
ANSWERS = {
    "about cats": Verdict(approved=True, round=1),
    "about dogs": Verdict(approved=False, round=1, remark="shorter"),
    "about dogs, shorter": Verdict(approved=True, round=2),
    "about mice": Verdict(approved=False, round=1, remark="no"),
    "about mice, no": Verdict(approved=False, round=2, remark="no"),
    "about mice, no, no": Verdict(approved=False, round=3, remark="not mice"),
}


def answer(event: Event) -> Event | None:
    """Return what the person answers to what is shown; None: nothing."""
    return ANSWERS[event.draft] if isinstance(event, Review) else None
