"""Lists that fan out, and joins that take lists."""

from typing import Annotated, Any, cast

from behaviour import gates
from fleet import All, Collect, Context, Event, StartEvent, StopEvent, Take, Workflow, step


class Note(Event):
    """What a step says that it did."""

    text: str


class Task(Event):
    n: int
    key: str = ""


class Odd(Event):
    n: int


class Done(Event):
    n: int


class Skipped(Event):
    n: int


class Single(Event):
    n: int


class Extra(Event):
    n: int


class Checked(Event):
    n: int


class Sum(Event):
    total: int


class Round(Event):
    n: int


def numbers(events: list[Any]) -> list[int]:
    """Return the numbers of events in ascending order."""
    return sorted(each.n for each in events)


class FanOut(Workflow):
    """Fans out to as many branches as its start says, and joins them."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n) for n in range(ev.get("count", 4))]

    @step
    async def work(self, ev: Task) -> Done:
        return Done(n=ev.n)

    @step
    async def join(self, ctx: Context, events: list[Done]) -> StopEvent:
        ctx.write_event_to_stream(Note(text="joined"))
        return StopEvent(result=numbers(events))


class CompletionOrder(Workflow):
    """Its branches complete from the last to the first."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        gates.open_gate(f"{ev.key}4")
        return [Task(n=n, key=ev.key) for n in range(4)]

    @step(num_workers=4)
    async def work(self, ev: Task) -> Done:
        await gates.at_gate(f"{ev.key}{ev.n + 1}")
        gates.open_gate_after_me(f"{ev.key}{ev.n}")
        return Done(n=ev.n)

    @step
    async def join(self, events: list[Done]) -> StopEvent:
        return StopEvent(result=[each.n for each in events])


class TwoKinds(Workflow):
    """Fans out to branches of two types, which give two types, and joins both."""

    @step
    async def split(self, ev: StartEvent) -> list[Task | Odd]:
        return [Odd(n=n) if n % 2 else Task(n=n) for n in range(6)]

    @step
    async def on_task(self, ev: Task) -> Done:
        return Done(n=ev.n)

    @step
    async def on_odd(self, ev: Odd) -> Skipped:
        return Skipped(n=ev.n)

    @step
    async def join(self, events: list[Done | Skipped]) -> StopEvent:
        done = numbers([each for each in events if isinstance(each, Done)])
        skipped = numbers([each for each in events if isinstance(each, Skipped)])
        return StopEvent(result=[done, skipped])


class NoneShrinks(Workflow):
    """Branches end in None: those above a limit."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n) for n in range(6)]

    @step
    async def work(self, ev: Task) -> Done | None:
        return Done(n=ev.n) if ev.n % 2 else None

    @step
    async def join(self, events: list[Done]) -> StopEvent:
        return StopEvent(result=numbers(events))


class AllEndInNone(Workflow):
    """Every branch ends in None."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n) for n in range(3)]

    @step
    async def work(self, ev: Task) -> Done | None:
        return None

    @step
    async def join(self, events: list[Done]) -> StopEvent:
        return StopEvent(result=numbers(events))


class NoneOpensNothing(Workflow):
    """A step returns None twice and a list once: the join fires for the list alone."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Round:
        ctx.send_event(Round(n=1))
        ctx.send_event(Round(n=2))
        return Round(n=0)

    @step(num_workers=1)
    async def split(self, ev: Round) -> list[Task] | None:
        return [Task(n=n) for n in range(2)] if ev.n == 2 else None

    @step
    async def work(self, ev: Task) -> Done:
        return Done(n=ev.n)

    @step
    async def join(self, ctx: Context, events: list[Done]) -> StopEvent:
        ctx.write_event_to_stream(Note(text="joined"))
        return StopEvent(result=numbers(events))


class BareInstead(Workflow):
    """May return a list, and returns a single event of another type."""

    @step
    async def split(self, ev: StartEvent) -> list[Task] | Single:
        return Single(n=7)

    @step
    async def on_single(self, ev: Single) -> StopEvent:
        return StopEvent(result=ev.n)

    @step
    async def work(self, ev: Task) -> Done:
        return Done(n=ev.n)

    @step
    async def join(self, ctx: Context, events: list[Done]) -> StopEvent:
        ctx.write_event_to_stream(Note(text="joined"))
        return StopEvent(result=numbers(events))


class BareOfTheSame(Workflow):
    """May return a list of a type or one of it, and returns one."""

    @step
    async def split(self, ev: StartEvent) -> list[Done] | Done:
        return Done(n=5)

    @step
    async def on_done(self, ev: Done) -> StopEvent:
        return StopEvent(result=ev.n)

    @step
    async def join(self, ctx: Context, events: list[Done]) -> StopEvent:
        ctx.write_event_to_stream(Note(text="joined"))
        return StopEvent(result=numbers(events))


class BareUnasked(Workflow):
    """Returns one event although it may return a list alone."""

    @step
    async def split(self, ev: StartEvent) -> list[Done]:
        return cast("list[Done]", Done(n=0))

    @step
    async def join(self, events: list[Done]) -> StopEvent:
        return StopEvent(result=numbers(events))


class ListUnasked(Workflow):
    """Returns a list although it may return one event alone."""

    @step
    async def split(self, ev: StartEvent) -> Done:
        return cast("Done", [Done(n=0)])

    @step
    async def end(self, ev: Done) -> StopEvent:
        return StopEvent(result=ev.n)


class TextInAList(Workflow):
    """Returns a list with a text in it."""

    @step
    async def split(self, ev: StartEvent) -> list[Done]:
        return [Done(n=0), cast("Any", "text")]

    @step
    async def join(self, events: list[Done]) -> StopEvent:
        return StopEvent(result=numbers(events))


class StraightToTheJoin(Workflow):
    """What it fans out is what the join takes."""

    @step
    async def split(self, ev: StartEvent) -> list[Done]:
        return [Done(n=n) for n in range(3)]

    @step
    async def join(self, events: list[Done]) -> StopEvent:
        return StopEvent(result=[each.n for each in events])


class LongBranches(Workflow):
    """A branch has two steps, and the second may send it back to the first."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n) for n in range(4)]

    @step
    async def draft(self, ev: Task) -> Checked:
        return Checked(n=ev.n)

    @step
    async def check(self, ev: Checked) -> Done | Task:
        return Task(n=ev.n + 10) if ev.n < 10 else Done(n=ev.n)

    @step
    async def join(self, events: list[Done]) -> StopEvent:
        return StopEvent(result=numbers(events))


class BroadcastInABranch(Workflow):
    """Two steps take each branch, so the join gets two members of each."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n) for n in range(3)]

    @step
    async def one(self, ev: Task) -> Done:
        return Done(n=ev.n)

    @step
    async def two(self, ev: Task) -> Done:
        return Done(n=ev.n + 10)

    @step
    async def join(self, events: list[Done]) -> StopEvent:
        return StopEvent(result=numbers(events))


class TwoJoins(Workflow):
    """Two joins of one fan-out, for two types."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n) for n in range(5)]

    @step
    async def work(self, ev: Task) -> Done | Skipped:
        return Done(n=ev.n) if ev.n < 2 else Skipped(n=ev.n)

    @step
    async def join_done(self, events: list[Done]) -> Sum:
        return Sum(total=sum(numbers(events)))

    @step
    async def join_skipped(self, events: list[Skipped]) -> Sum:
        return Sum(total=100 + sum(numbers(events)))

    @step
    async def end(self, ctx: Context, ev: Sum) -> StopEvent | None:
        sums = ctx.collect_events(ev, [Sum, Sum])
        return StopEvent(result=sorted(each.total for each in sums)) if sums else None


class TwoJoinsOfOneType(Workflow):
    """Two joins of one fan-out take the same type: each gets all members."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n) for n in range(5)]

    @step
    async def work(self, ev: Task) -> Done:
        return Done(n=ev.n)

    @step
    async def one(self, events: list[Done]) -> Sum:
        return Sum(total=len(events))

    @step
    async def two(self, events: list[Done]) -> Sum:
        return Sum(total=100 + len(events))

    @step
    async def end(self, ctx: Context, ev: Sum) -> StopEvent | None:
        sums = ctx.collect_events(ev, [Sum, Sum])
        return StopEvent(result=sorted(each.total for each in sums)) if sums else None


class ExplicitCollect(Workflow):
    """Says what a list means without saying it: all."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n) for n in range(4)]

    @step
    async def work(self, ev: Task) -> Done:
        return Done(n=ev.n)

    @step
    async def join(self, events: Annotated[list[Done], Collect()]) -> StopEvent:
        return StopEvent(result=numbers(events))


class ExplicitAll(Workflow):
    """Says that it takes all."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n) for n in range(4)]

    @step
    async def work(self, ev: Task) -> Done:
        return Done(n=ev.n)

    @step
    async def join(self, events: Annotated[list[Done], Collect(All())]) -> StopEvent:
        return StopEvent(result=numbers(events))


class TakesTwo(Workflow):
    """Takes the first two of five; the branches end one after the other."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        gates.open_gate(f"{ev.key}5")
        return [Task(n=n, key=ev.key) for n in range(5)]

    @step(num_workers=5)
    async def work(self, ev: Task) -> Done:
        await gates.at_gate(f"{ev.key}{ev.n + 1}")
        if ev.n == 2:
            # The other two have to be joined before these complete.
            await gates.at_gate(f"{ev.key}joined")
        gates.open_gate_after_me(f"{ev.key}{ev.n}")
        return Done(n=ev.n)

    @step
    async def join(self, ctx: Context, events: Annotated[list[Done], Collect(Take(2))]) -> Sum:
        ctx.write_event_to_stream(Note(text=str([each.n for each in events])))
        return Sum(total=len(events))

    @step
    async def go_on(self, ctx: Context, ev: Sum) -> StopEvent | None:
        ctx.write_event_to_stream(Note(text="joined"))
        return None

    @step
    async def count(self, ctx: Context, ev: Done) -> StopEvent | None:
        done = ctx.collect_events(ev, [Done] * 5)
        return StopEvent(result=len(done)) if done else None


class TakesMore(Workflow):
    """Asks for more than there are: it gets what there is, when all is done."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n) for n in range(3)]

    @step
    async def work(self, ev: Task) -> Done:
        return Done(n=ev.n)

    @step
    async def join(self, events: Annotated[list[Done], Collect(Take(5))]) -> StopEvent:
        return StopEvent(result=numbers(events))


class TakesOfNothing(Workflow):
    """Asks for two of an empty list."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return []

    @step
    async def work(self, ev: Task) -> Done:
        return Done(n=ev.n)

    @step
    async def join(self, events: Annotated[list[Done], Collect(Take(2))]) -> StopEvent:
        return StopEvent(result=numbers(events))


class TakesOneAndEnds(Workflow):
    """Ends the run with the first of its branches."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n) for n in range(5)]

    @step
    async def work(self, ev: Task) -> Done:
        return Done(n=ev.n)

    @step
    async def fastest(
        self, ctx: Context, events: Annotated[list[Done], Collect(Take(1))]
    ) -> StopEvent:
        ctx.write_event_to_stream(Note(text="joined"))
        return StopEvent(result=len(events))


class SentBesides(Workflow):
    """A branch sends what the join takes: it is no member of the list."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n) for n in range(3)]

    @step
    async def work(self, ctx: Context, ev: Task) -> Done:
        if ev.n == 2:
            ctx.send_event(Done(n=99))
        return Done(n=ev.n)

    @step
    async def join(self, events: list[Done]) -> StopEvent:
        return StopEvent(result=numbers(events))


class SentToTheJoin(Workflow):
    """A branch sends to the join by name: that cannot be."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n) for n in range(3)]

    @step
    async def work(self, ctx: Context, ev: Task) -> Done:
        if ev.n == 0:
            ctx.send_event(Done(n=99), step="join")
        return Done(n=ev.n)

    @step
    async def join(self, events: list[Done]) -> StopEvent:
        return StopEvent(result=numbers(events))


class SentInALoop(Workflow):
    """Fans out by send_event, and collects as many."""

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Task | None:
        await ctx.store.set("count", ev.count)
        for n in range(ev.count):
            ctx.send_event(Task(n=n))
        return None

    @step
    async def work(self, ev: Task) -> Done:
        return Done(n=ev.n)

    @step
    async def join(self, ctx: Context, ev: Done) -> StopEvent | None:
        done = ctx.collect_events(ev, [Done] * await ctx.store.get("count"))
        return StopEvent(result=numbers(done)) if done else None


class BranchFails(Workflow):
    """One branch raises."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n) for n in range(4)]

    @step
    async def work(self, ev: Task) -> Done:
        if ev.n == 2:
            raise LookupError(f"nothing about {ev.n}")
        return Done(n=ev.n)

    @step
    async def join(self, ctx: Context, events: list[Done]) -> StopEvent:
        ctx.write_event_to_stream(Note(text="joined"))
        return StopEvent(result=numbers(events))


class BranchEndsTheRun(Workflow):
    """A branch returns the result of the run."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n) for n in range(4)]

    @step(num_workers=1)
    async def work(self, ev: Task) -> Done | StopEvent:
        return StopEvent(result="found it") if ev.n == 1 else Done(n=ev.n)

    @step
    async def join(self, ctx: Context, events: list[Done]) -> StopEvent:
        ctx.write_event_to_stream(Note(text="joined"))
        return StopEvent(result=numbers(events))
