"""Questions to a person, and steps that take the answers."""

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
    """What a step says that it did."""

    text: str


class Ask(InputRequiredEvent):
    question: str


class Say(HumanResponseEvent):
    text: str


class Asks(Workflow):
    """A step returns a question, and another takes the answer."""

    @step
    async def ask(self, ev: StartEvent) -> Ask:
        return Ask(question="who?")

    @step
    async def take(self, ev: Say) -> StopEvent:
        return StopEvent(result=ev.text)


class AsksFreely(Workflow):
    """The same with the classes themselves, and fields that none declares."""

    @step
    async def ask(self, ev: StartEvent) -> InputRequiredEvent:
        return InputRequiredEvent(prefix="who?")

    @step
    async def take(self, ev: HumanResponseEvent) -> StopEvent:
        return StopEvent(result=ev.response)


class AsksSeveral(Workflow):
    """A step returns a list of questions."""

    @step
    async def ask(self, ev: StartEvent) -> list[Ask]:
        return [Ask(question="who?"), Ask(question="when?")]

    @step
    async def take(self, ctx: Context, ev: Say) -> StopEvent | None:
        said = ctx.collect_events(ev, [Say] * 2)
        return StopEvent(result=sorted(each.text for each in said)) if said else None


class AsksAndTakes(Workflow):
    """A step takes the question, too."""

    @step
    async def ask(self, ev: StartEvent) -> Ask:
        return Ask(question="who?")

    @step
    async def look(self, ev: Ask) -> StopEvent:
        return StopEvent(result=f"looked at {ev.question}")


class SendsAQuestion(Workflow):
    """The question is sent, and not returned."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> None:
        ctx.send_event(Ask(question="who?"))
        ctx.write_event_to_stream(Note(text="sent"))

    @step
    async def take(self, ev: Say) -> StopEvent:
        return StopEvent(result=ev.text)


class TypeOnlyAnswers(Workflow):
    """What begins a run is the one type that nothing sends, beside answers."""

    @step
    async def ask(self, ev: StartEvent) -> Ask | StopEvent:
        return Ask(question="who?")

    @step
    async def take(self, ev: Say) -> Ask | StopEvent:
        return StopEvent(result=ev.text) if ev.text == "me" else Ask(question="who else?")
