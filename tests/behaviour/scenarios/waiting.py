"""Steps that wait for events."""

from typing import Any

from behaviour import gates
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
    question: str = ""


class Say(HumanResponseEvent):
    text: str
    by: str = ""


class A(Event):
    n: int = 0


class B(Event):
    n: int = 0


class Done(Event):
    text: str


class WaitsForOne(Workflow):
    """A step waits for an answer of one person."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ctx.write_event_to_stream(Note(text="top"))
        said = await ctx.wait_for_event(
            Say, waiter_event=Ask(question="who?"), requirements={"by": "Ann"}
        )
        return StopEvent(result=said.text)


class WaitsFreely(Workflow):
    """The same with the classes themselves, and fields that none declares."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        said = await ctx.wait_for_event(
            HumanResponseEvent,
            waiter_event=InputRequiredEvent(prefix="who?"),
            requirements={"user": "Ann", "retracted": None},
        )
        return StopEvent(result=said.response)


class WaitsTwice(Workflow):
    """A step waits twice for one type: the waits are told apart by their ids."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        first = await ctx.wait_for_event(Say, Ask(question="1"), "one", {"by": "Ann"})
        second = await ctx.wait_for_event(Say, Ask(question="2"), "two", {"by": "Bob"})
        # As the first one: it has its answer.
        again = await ctx.wait_for_event(Say, Ask(question="3"), "one", {"by": "Ann"})
        return StopEvent(result=[first.text, second.text, again.text])


class WaitsForTheSame(Workflow):
    """Without ids, waits for the same type and the same values are one."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        first = await ctx.wait_for_event(Say, Ask(question="1"), requirements={"by": "Ann"})
        second = await ctx.wait_for_event(Say, Ask(question="2"), requirements={"by": "Ann"})
        third = await ctx.wait_for_event(Say, Ask(question="3"), requirements={"by": "Bob"})
        return StopEvent(result=[first.text, second.text, third.text])


class TwoAnswersFit(Workflow):
    """A second answer fits the first wait as well, which has its own."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        first = await ctx.wait_for_event(Say, Ask(question="1"), "one")
        second = await ctx.wait_for_event(Say, Ask(question="2"), "two")
        return StopEvent(result=[first.text, second.text])


class TwoWait(Workflow):
    """Two steps wait for one type: both get the answer."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | B | None:
        ctx.send_event(A())
        ctx.send_event(B())
        return None

    @step
    async def first(self, ctx: Context, ev: A) -> Done:
        said = await ctx.wait_for_event(Say, waiter_event=Ask(question="first"))
        return Done(text=f"first {said.text}")

    @step
    async def second(self, ctx: Context, ev: B) -> Done:
        said = await ctx.wait_for_event(Say, waiter_event=Ask(question="second"))
        return Done(text=f"second {said.text}")

    @step
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        done = ctx.collect_events(ev, [Done] * 2)
        return StopEvent(result=sorted(each.text for each in done)) if done else None


class OthersTake(Workflow):
    """A step waits for an event that another step accepts."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> Done:
        said = await ctx.wait_for_event(Say, waiter_event=Ask(question="who?"))
        return Done(text=f"waited {said.text}")

    @step
    async def take(self, ev: Say) -> Done:
        return Done(text=f"took {ev.text}")

    @step
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        done = ctx.collect_events(ev, [Done] * 2)
        return StopEvent(result=sorted(each.text for each in done)) if done else None


class TakesItself(Workflow):
    """A step waits for an event that it accepts: it is not run for that one, too."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent | Say) -> StopEvent | None:
        ctx.write_event_to_stream(Note(text=type(ev).__name__))
        if isinstance(ev, Say):
            return None
        said = await ctx.wait_for_event(Say, waiter_event=Ask(question="who?"))
        return StopEvent(result=said.text)


class AnsweredByAStep(Workflow):
    """A step waits for what another step sends."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | B | None:
        ctx.send_event(A())
        ctx.send_event(B())
        return None

    @step
    async def ask(self, ctx: Context, ev: A) -> StopEvent:
        said = await ctx.wait_for_event(Done, waiter_event=Ask(question="who?"))
        return StopEvent(result=said.text)

    @step
    async def reply(self, ctx: Context, ev: B) -> None:
        said = await ctx.wait_for_event(Say)
        ctx.send_event(Done(text=f"sent {said.text}"))


class Late(Workflow):
    """No answer comes in time."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        try:
            await ctx.wait_for_event(Say, waiter_event=Ask(question="who?"), timeout=0.2)
        except TimeoutError:
            return StopEvent(result="no one")
        return StopEvent(result="some one")


class LateAndFails(Workflow):
    """No answer comes in time, and the step does not care."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        said = await ctx.wait_for_event(Say, timeout=0)
        return StopEvent(result=said.text)


class Patient(Workflow):
    """A step waits for as long as it takes."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        said = await ctx.wait_for_event(Say, waiter_event=Ask(question="who?"), timeout=None)
        return StopEvent(result=said.text)


class WaitsInAList(Workflow):
    """Each branch of a fan-out waits for an answer of its own, and holds no slot."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> list[A]:
        return [A(n=1), A(n=2), A(n=3)]

    @step(num_workers=1)
    async def ask(self, ctx: Context, ev: A) -> Done:
        said = await ctx.wait_for_event(
            Say,
            waiter_event=Ask(question=str(ev.n)),
            waiter_id=f"branch {ev.n}",
            requirements={"by": str(ev.n)},
        )
        return Done(text=said.text)

    @step
    async def end(self, evs: list[Done]) -> StopEvent:
        return StopEvent(result=sorted(each.text for each in evs))


class OneForAll(Workflow):
    """Branches of a fan-out wait for the same: one answer is for all of them."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> list[A]:
        return [A(n=1), A(n=2), A(n=3)]

    @step
    async def ask(self, ctx: Context, ev: A) -> Done:
        said = await ctx.wait_for_event(Say, waiter_event=Ask(question=str(ev.n)))
        return Done(text=f"{ev.n} {said.text}")

    @step
    async def end(self, evs: list[Done]) -> StopEvent:
        return StopEvent(result=sorted(each.text for each in evs))


class FailsAfterwards(Workflow):
    """The step fails with the answer that it got."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        said = await ctx.wait_for_event(Say, waiter_event=Ask(question="who?"))
        raise LookupError(said.text)


class Subclasses(Workflow):
    """A step that takes subclasses waits for them, too."""

    @step(accept_event_subclasses=True)
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        said = await ctx.wait_for_event(
            HumanResponseEvent, waiter_event=Ask(question="who?"), requirements={"by": "Ann"}
        )
        return StopEvent(result=[type(said).__name__, getattr(said, "text", None)])


class ComesEarly(Workflow):
    """The answer comes before the step waits."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ctx.write_event_to_stream(Note(text="begun"))
        await gates.at_gate(f"{ev.key}answered")
        said = await ctx.wait_for_event(Say, waiter_event=Ask(question="who?"))
        return StopEvent(result=said.text)


class WaitsForNoEvent(Workflow):
    """A step waits for what cannot come."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        kind: Any = str
        return StopEvent(result=await ctx.wait_for_event(kind))


class SendsAndWaits(Workflow):
    """What a step does before it waits: it is run again from its top."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        tops = gates.enter(f"{ev.key}tops")
        said = await ctx.wait_for_event(Say, waiter_event=Ask(question="who?"))
        return StopEvent(result=[tops, said.text])
