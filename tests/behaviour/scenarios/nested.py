"""Fan-outs in fan-outs, one after the other, again, and beside one another."""

from typing import Annotated

from fleet import Collect, Context, Event, StartEvent, StopEvent, Take, Workflow, step


class Note(Event):
    """What a step says that it did."""

    text: str


class Outer(Event):
    o: int


class Inner(Event):
    o: int
    i: int


class InnerDone(Event):
    o: int
    i: int


class Summary(Event):
    o: int
    count: int


class Task(Event):
    n: int


class Done(Event):
    n: int


class Judged(Event):
    n: int


class Again(Event):
    round: int


class Total(Event):
    total: int


class Nested(Workflow):
    """Three branches of two branches each; inner joins fire before the outer one."""

    @step
    async def split(self, ev: StartEvent) -> list[Outer]:
        return [Outer(o=o) for o in range(3)]

    @step
    async def split_inner(self, ev: Outer) -> list[Inner]:
        return [Inner(o=ev.o, i=i) for i in range(2)]

    @step
    async def work(self, ev: Inner) -> InnerDone:
        return InnerDone(o=ev.o, i=ev.i)

    @step
    async def join_inner(self, ctx: Context, events: list[InnerDone]) -> Summary:
        ctx.write_event_to_stream(Note(text="inner"))
        assert len({each.o for each in events}) == 1
        return Summary(o=events[0].o, count=len(events))

    @step
    async def join(self, ctx: Context, events: list[Summary]) -> StopEvent:
        ctx.write_event_to_stream(Note(text="outer"))
        return StopEvent(result=sorted([each.o, each.count] for each in events))


class UnevenlyNested(Workflow):
    """Of its branches one has no inner branches, one has one, one ends in None."""

    @step
    async def split(self, ev: StartEvent) -> list[Outer]:
        return [Outer(o=o) for o in range(4)]

    @step
    async def split_inner(self, ev: Outer) -> list[Inner] | None:
        return None if ev.o == 3 else [Inner(o=ev.o, i=i) for i in range(ev.o)]

    @step
    async def work(self, ev: Inner) -> InnerDone | None:
        return None if (ev.o, ev.i) == (2, 0) else InnerDone(o=ev.o, i=ev.i)

    @step
    async def join_inner(self, events: list[InnerDone]) -> Summary:
        return Summary(o=events[0].o if events else -1, count=len(events))

    @step
    async def join(self, events: list[Summary]) -> StopEvent:
        return StopEvent(result=sorted([each.o, each.count] for each in events))


class NestedTake(Workflow):
    """The inner join takes the first two of four; the outer one gets one of each branch."""

    @step
    async def split(self, ev: StartEvent) -> list[Outer]:
        return [Outer(o=o) for o in range(2)]

    @step
    async def split_inner(self, ev: Outer) -> list[Inner]:
        return [Inner(o=ev.o, i=i) for i in range(4)]

    @step
    async def work(self, ev: Inner) -> InnerDone:
        return InnerDone(o=ev.o, i=ev.i)

    @step
    async def join_inner(self, events: Annotated[list[InnerDone], Collect(Take(2))]) -> Summary:
        return Summary(o=events[0].o, count=len(events))

    @step
    async def join(self, events: list[Summary]) -> StopEvent:
        return StopEvent(result=sorted([each.o, each.count] for each in events))


class BareInABranch(Workflow):
    """A branch fans out, or gives at once what the join around it takes."""

    @step
    async def split(self, ev: StartEvent) -> list[Outer]:
        return [Outer(o=o) for o in range(3)]

    @step
    async def split_inner(self, ev: Outer) -> list[Inner] | Summary:
        if ev.o == 1:
            return Summary(o=1, count=-1)
        return [Inner(o=ev.o, i=i) for i in range(2)]

    @step
    async def work(self, ev: Inner) -> InnerDone:
        return InnerDone(o=ev.o, i=ev.i)

    @step
    async def join_inner(self, events: list[InnerDone]) -> Summary:
        return Summary(o=events[0].o, count=len(events))

    @step
    async def join(self, events: list[Summary]) -> StopEvent:
        return StopEvent(result=sorted([each.o, each.count] for each in events))


class ThreeDeep(Workflow):
    """A fan-out in a fan-out in a fan-out, each of two."""

    @step
    async def split(self, ev: StartEvent) -> list[Outer]:
        return [Outer(o=o) for o in range(2)]

    @step
    async def split_again(self, ev: Outer) -> list[Task]:
        return [Task(n=10 * ev.o + n) for n in range(2)]

    @step
    async def split_inner(self, ev: Task) -> list[Inner]:
        return [Inner(o=ev.n, i=i) for i in range(2)]

    @step
    async def join_inner(self, events: list[Inner]) -> Done:
        return Done(n=len(events))

    @step
    async def join_again(self, events: list[Done]) -> Summary:
        return Summary(o=len(events), count=sum(each.n for each in events))

    @step
    async def join(self, events: list[Summary]) -> StopEvent:
        return StopEvent(result=[[each.o, each.count] for each in events])


class JoinsAndSplits(Workflow):
    """A join inside of a branch fans out again, and another join closes that."""

    @step
    async def split(self, ev: StartEvent) -> list[Outer]:
        return [Outer(o=o) for o in range(2)]

    @step
    async def split_inner(self, ev: Outer) -> list[Inner]:
        return [Inner(o=ev.o, i=i) for i in range(2)]

    @step
    async def join_and_split(self, events: list[Inner]) -> list[InnerDone]:
        return [InnerDone(o=each.o, i=each.i) for each in events]

    @step
    async def join_inner(self, ctx: Context, events: list[InnerDone]) -> Summary:
        ctx.write_event_to_stream(Note(text=str(len(events))))
        return Summary(o=events[0].o if events else -1, count=len(events))

    @step
    async def join(self, events: list[Summary]) -> StopEvent:
        return StopEvent(result=sorted([each.o, each.count] for each in events))


class OneAfterTheOther(Workflow):
    """A join fans out, and the next join ends the run."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n) for n in range(4)]

    @step
    async def work(self, ev: Task) -> Done:
        return Done(n=ev.n)

    @step
    async def join_and_split(self, events: list[Done]) -> list[Inner]:
        return [Inner(o=len(events), i=each.n) for each in events if each.n > 1]

    @step
    async def work_again(self, ev: Inner) -> InnerDone:
        return InnerDone(o=ev.o, i=ev.i)

    @step
    async def join(self, events: list[InnerDone]) -> StopEvent:
        return StopEvent(result=sorted([each.o, each.i] for each in events))


class Repeated(Workflow):
    """Judges and revises: the same fan-out again until it is good."""

    @step
    async def begin(self, ev: StartEvent) -> Again:
        return Again(round=1)

    @step
    async def split(self, ev: Again) -> list[Task]:
        return [Task(n=100 * ev.round + n) for n in range(3)]

    @step
    async def work(self, ev: Task) -> Done:
        return Done(n=ev.n)

    @step
    async def join(self, ctx: Context, events: list[Done]) -> Again | StopEvent:
        found = sorted(each.n for each in events)
        ctx.write_event_to_stream(Note(text=str(found)))
        done = found[0] // 100
        return Again(round=done + 1) if done < 3 else StopEvent(result=found)


class Beside(Workflow):
    """The same step fans out for two events at once: the lists never mix."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Outer | None:
        for o in range(3):
            ctx.send_event(Outer(o=o))
        return None

    @step
    async def split(self, ev: Outer) -> list[Inner]:
        return [Inner(o=ev.o, i=i) for i in range(ev.o + 2)]

    @step
    async def work(self, ev: Inner) -> InnerDone:
        return InnerDone(o=ev.o, i=ev.i)

    @step
    async def join(self, events: list[InnerDone]) -> Summary:
        assert len({each.o for each in events}) == 1
        return Summary(o=events[0].o, count=len(events))

    @step
    async def end(self, ctx: Context, ev: Summary) -> StopEvent | None:
        found = ctx.collect_events(ev, [Summary] * 3)
        return StopEvent(result=sorted([each.o, each.count] for each in found)) if found else None
