"""Steps that fail, and the steps that handle it."""

import asyncio
from datetime import UTC, datetime

from fleet import (
    Context,
    Event,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    catch_error,
    step,
)


class Note(Event):
    text: str


class A(Event):
    number: int = 0


class B(Event):
    number: int = 0


class Part(Event):
    number: int


class Piece(Event):
    number: int


class NoTopic(LookupError):
    """Raised by steps here, with an attribute."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class TellsWhatFailed(Workflow):
    """Its handler ends the run with what it was told."""

    @step
    async def begin(self, ev: StartEvent) -> A:
        return A(number=7)

    @step
    async def fail(self, ctx: Context, ev: A) -> StopEvent:
        ctx.write_event_to_stream(Note(text="tried"))
        raise NoTopic("no such topic", code=404)

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> StopEvent:
        assert isinstance(ev.input_event, A)
        assert isinstance(ev.exception, NoTopic)
        return StopEvent(
            result={
                "step": ev.step_name,
                "number": ev.input_event.number,
                "error": str(ev.exception),
                "code": ev.exception.code,
                "attempts": ev.attempts,
                "took": ev.elapsed_seconds >= 0,
                "zone": str(ev.failed_at.tzinfo),
            }
        )


class Plain(Workflow):
    """Nothing fails, and no handler runs."""

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result="fine")

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent(result="rescued")


class NamedAndWild(Workflow):
    """One handler is for a step, the other one for the rest."""

    @step
    async def begin(self, ev: StartEvent) -> A | B:
        return A() if ev.get("way") == "a" else B()

    @step
    async def first(self, ev: A) -> StopEvent:
        raise LookupError("first")

    @step
    async def second(self, ev: B) -> StopEvent:
        raise LookupError("second")

    @catch_error(for_steps=["first"])
    async def of_first(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent(result=f"of_first: {ev.step_name}")

    @catch_error
    async def of_rest(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent(result=f"of_rest: {ev.step_name}")


class NotCovered(Workflow):
    """The handler is for another step."""

    @step
    async def begin(self, ev: StartEvent) -> A:
        raise LookupError("begin")

    @step
    async def other(self, ev: A) -> StopEvent:
        return StopEvent()

    @catch_error(for_steps=["other"])
    async def rescue(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent(result="rescued")


class HandlerFails(Workflow):
    """Another handler is for every step, and not for a handler."""

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        raise LookupError("begin")

    @catch_error(for_steps=["begin"])
    async def rescue(self, ev: StepFailedEvent) -> StopEvent:
        raise ValueError("rescue")

    @catch_error
    async def of_rest(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent(result=f"of_rest: {ev.step_name}")


class RaisesAgain(Workflow):
    """The handler raises what it got."""

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        raise NoTopic("begin", code=3)

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> StopEvent:
        raise ev.exception


class GoesBack(Workflow):
    """The handler sends the run back to the step that failed, at most three times."""

    @step
    async def begin(self, ev: StartEvent) -> A:
        return A(number=ev.get("fails"))

    @step
    async def work(self, ctx: Context, ev: A) -> B:
        ctx.write_event_to_stream(Note(text=f"work {ev.number}"))
        if ev.number:
            raise LookupError(f"work {ev.number}")
        return B()

    @step
    async def end(self, ev: B) -> StopEvent:
        return StopEvent(result="done")

    @catch_error(max_recoveries=3)
    async def rescue(self, ctx: Context, ev: StepFailedEvent) -> A:
        assert isinstance(ev.input_event, A)
        ctx.write_event_to_stream(Note(text=f"rescue {ev.input_event.number}"))
        return A(number=ev.input_event.number - 1)


class BudgetOfEachBranch(Workflow):
    """Each of three branches fails once: the budget of one recovery is for each by itself."""

    @step
    async def split(self, ev: StartEvent) -> list[A]:
        return [A(number=number) for number in range(3)]

    @step
    async def work(self, ev: A) -> B:
        raise LookupError(f"work {ev.number}")

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> B:
        assert isinstance(ev.input_event, A)
        return B(number=10 + ev.input_event.number)

    @step
    async def join(self, evs: list[B]) -> StopEvent:
        return StopEvent(result=sorted(ev.number for ev in evs))


class SomeBranchesFail(Workflow):
    """A join gets what a handler returns for a branch; None takes a branch out."""

    @step
    async def split(self, ev: StartEvent) -> list[A]:
        return [A(number=number) for number in range(5)]

    @step
    async def work(self, ev: A) -> B:
        if ev.number % 2:
            raise LookupError(f"work {ev.number}")
        return B(number=ev.number)

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> B | None:
        assert isinstance(ev.input_event, A)
        return B(number=-ev.input_event.number) if ev.input_event.number == 1 else None

    @step
    async def join(self, evs: list[B]) -> StopEvent:
        return StopEvent(result=sorted(ev.number for ev in evs))


class HandlerFansOut(Workflow):
    """The handler returns a list, and a join awaits it."""

    @step
    async def begin(self, ev: StartEvent) -> B:
        raise LookupError("begin")

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> list[A]:
        return [A(number=number) for number in range(3)]

    @step
    async def work(self, ev: A) -> B:
        return B(number=ev.number)

    @step
    async def join(self, evs: list[B]) -> StopEvent:
        return StopEvent(result=sorted(ev.number for ev in evs))


class JoinOfAListFails(Workflow):
    """The handler gets all events of the join."""

    @step
    async def split(self, ev: StartEvent) -> list[A]:
        return [A(number=number) for number in range(3)]

    @step
    async def join(self, evs: list[A]) -> StopEvent:
        raise LookupError(f"{len(evs)} events")

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> StopEvent:
        numbers = sorted(one.number for one in ev.input_event.events)
        return StopEvent(result=[ev.step_name, str(ev.exception), numbers])


class JoinOfParametersFails(Workflow):
    """The handler gets the event that came last."""

    @step
    async def begin(self, ev: StartEvent) -> A:
        return A(number=1)

    @step
    async def after(self, ev: A) -> B:
        return B(number=2)

    @step
    async def join(self, a: A, b: B) -> StopEvent:
        raise LookupError(f"{a.number} and {b.number}")

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> StopEvent:
        given = type(ev.input_event).__name__
        return StopEvent(result=[ev.step_name, str(ev.exception), given])


class InnerBranchFails(Workflow):
    """A branch of an inner fan-out fails, and what comes of it stays in that fan-out."""

    @step
    async def split(self, ev: StartEvent) -> list[A]:
        return [A(number=number) for number in range(2)]

    @step
    async def parts(self, ev: A) -> list[Part]:
        return [Part(number=10 * ev.number + number) for number in range(2)]

    @step
    async def work(self, ev: Part) -> Piece:
        if ev.number == 10:
            raise LookupError("work")
        return Piece(number=ev.number)

    @catch_error(for_steps=["work"])
    async def rescue(self, ev: StepFailedEvent) -> Piece:
        return Piece(number=100)

    @step
    async def inner(self, evs: list[Piece]) -> B:
        return B(number=sum(ev.number for ev in evs))

    @step
    async def outer(self, evs: list[B]) -> StopEvent:
        return StopEvent(result=sorted(ev.number for ev in evs))


class OneHandlerOfTwoLevels(Workflow):
    """It returns what a branch of the outer fan-out gives, and what one of the inner does."""

    @step
    async def split(self, ev: StartEvent) -> list[A]:
        return [A(number=number) for number in range(3)]

    @step
    async def parts(self, ev: A) -> list[Part]:
        if ev.number == 2:
            raise LookupError("parts")
        return [Part(number=10 * ev.number + number) for number in range(2)]

    @step
    async def work(self, ev: Part) -> Piece:
        if ev.number == 10:
            raise LookupError("work")
        return Piece(number=ev.number)

    @step
    async def inner(self, evs: list[Piece]) -> B:
        return B(number=sum(ev.number for ev in evs))

    @step
    async def outer(self, evs: list[B]) -> StopEvent:
        return StopEvent(result=sorted(ev.number for ev in evs))

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> Piece | B:
        return Piece(number=100) if ev.step_name == "work" else B(number=1000)


class Gathers(Workflow):
    """What the handler sends is collected with `collect_events`."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        for number in range(3):
            ctx.send_event(A(number=number))
        return None

    @step
    async def work(self, ev: A) -> B:
        if ev.number == 1:
            raise LookupError("work")
        return B(number=ev.number)

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> B:
        return B(number=100)

    @step
    async def gather(self, ctx: Context, ev: B) -> StopEvent | None:
        found = ctx.collect_events(ev, [B] * 3)
        if found is None:
            return None
        return StopEvent(result=sorted(one.number for one in found))


class LoopThroughAJoin(Workflow):
    """Each round fans out and fails in the join: the budget counts the rounds."""

    @step
    async def split(self, ev: StartEvent | B) -> list[A]:
        return [A(number=number) for number in range(2)]

    @step
    async def join(self, ctx: Context, evs: list[A]) -> StopEvent:
        ctx.write_event_to_stream(Note(text="join"))
        raise LookupError("join")

    @catch_error(max_recoveries=2)
    async def rescue(self, ev: StepFailedEvent) -> B:
        return B()


class ReturnsAFailure(Workflow):
    """A step may return such an event itself."""

    @step
    async def begin(self, ev: StartEvent) -> StepFailedEvent | StopEvent:
        return StepFailedEvent(
            step_name="elsewhere",
            input_event=A(number=1),
            exception=NoTopic("by hand", code=5),
            attempts=2,
            elapsed_seconds=0.5,
            failed_at=datetime.now(UTC),
        )

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent(result=[ev.step_name, type(ev.input_event).__name__, str(ev.exception)])


class ShowsTheFailure(Workflow):
    """The handler shows what it got to the caller."""

    @step
    async def begin(self, ev: StartEvent) -> A:
        return A(number=7)

    @step
    async def fail(self, ev: A) -> StopEvent:
        raise NoTopic("shown", code=9)

    @catch_error
    async def rescue(self, ctx: Context, ev: StepFailedEvent) -> StopEvent:
        ctx.write_event_to_stream(ev)
        return StopEvent(result="shown")


class FailedAttemptLeavesNothing(Workflow):
    """What the failed step has sent and set; in the reference it stays."""

    @step
    async def fail(self, ctx: Context, ev: StartEvent) -> StopEvent | A:
        ctx.send_event(A())
        await ctx.store.set("word", "set")
        raise LookupError("fail")

    @step
    async def sent(self, ctx: Context, ev: A) -> None:
        ctx.write_event_to_stream(Note(text="sent"))

    @catch_error
    async def rescue(self, ctx: Context, ev: StepFailedEvent) -> StopEvent:
        return StopEvent(result=await ctx.store.get("word", default="not set"))


class TooSlow(Workflow):
    """The run's time is up while a step is at work: that is no failure of the step."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ctx.write_event_to_stream(Note(text="begun"))
        await asyncio.sleep(60)
        return StopEvent()

    @catch_error
    async def rescue(self, ctx: Context, ev: StepFailedEvent) -> StopEvent:
        ctx.write_event_to_stream(Note(text="rescued"))
        return StopEvent(result="rescued")


OPTIONS = {"TooSlow": {"timeout": 0.5}}
