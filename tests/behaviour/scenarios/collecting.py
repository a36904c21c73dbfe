"""Steps that collect events themselves."""

import asyncio

from fleet import Context, Event, StartEvent, StopEvent, Workflow, step


class Note(Event):
    """What a step says that it did."""

    text: str


class A(Event):
    n: int = 0


class B(Event):
    n: int = 0


class C(Event):
    n: int = 0


class End(Event):
    text: str = ""


class AsExpected(Workflow):
    """Gets what it collects in the order that it asked for, by arrival within a type."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | B | None:
        for n in range(2):
            ctx.send_event(A(n=n))
        for n in range(10, 12):
            ctx.send_event(B(n=n))
        return None

    @step(num_workers=1)
    async def gather(self, ctx: Context, ev: A | B) -> StopEvent | None:
        found = ctx.collect_events(ev, [B, A, B, A])
        if found is None:
            ctx.write_event_to_stream(Note(text="not yet"))
            return None
        return StopEvent(result=[each.n for each in found])


class ThreeTypes(Workflow):
    """Parallel steps give three types."""

    @step
    async def begin(self, ev: StartEvent) -> A:
        return A(n=1)

    @step
    async def to_b(self, ev: A) -> B:
        return B(n=2)

    @step
    async def to_c(self, ev: A) -> C:
        return C(n=3)

    @step
    async def gather(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
        found = ctx.collect_events(ev, [C, A, B])
        return StopEvent(result=[each.n for each in found]) if found else None


class Nothing(Workflow):
    """Collects nothing at all."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=ctx.collect_events(ev, []))


class OnlyOne(Workflow):
    """Collects the event that it has."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
        found = ctx.collect_events(ev, [StartEvent])
        return StopEvent(result=[type(each).__name__ for each in found]) if found else None


class Unexpected(Workflow):
    """An event of a type that it does not collect comes between."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | B | None:
        ctx.send_event(A(n=1))
        ctx.send_event(A(n=2))
        ctx.send_event(B(n=3))
        return None

    @step(num_workers=1)
    async def gather(self, ctx: Context, ev: A | B) -> StopEvent | None:
        found = ctx.collect_events(ev, [A, A])
        if found is None:
            ctx.write_event_to_stream(Note(text=f"{type(ev).__name__}{ev.n}"))
            return None
        return StopEvent(result=[each.n for each in found])


class Surplus(Workflow):
    """More events of a type come than it collects: the first ones count."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        for n in range(3):
            ctx.send_event(A(n=n))
        return None

    @step(num_workers=1)
    async def pass_on(self, ctx: Context, ev: A) -> A | B | None:
        return B(n=0) if ev.n == 2 else None

    @step(num_workers=1)
    async def gather(self, ctx: Context, ev: A | B) -> StopEvent | None:
        found = ctx.collect_events(ev, [A, B])
        return StopEvent(result=[each.n for each in found]) if found else None


class Buffers(Workflow):
    """Keeps what it collects apart by buffer."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        for n in range(6):
            ctx.send_event(A(n=n))
        return None

    @step(num_workers=1)
    async def gather(self, ctx: Context, ev: A) -> End | None:
        parity = "odd" if ev.n % 2 else "even"
        found = ctx.collect_events(ev, [A] * 3, buffer_id=parity)
        return End(text=f"{parity} {[each.n for each in found]}") if found else None

    @step
    async def end(self, ctx: Context, ev: End) -> StopEvent | None:
        ends = ctx.collect_events(ev, [End, End])
        return StopEvent(result=sorted(each.text for each in ends)) if ends else None


class Batches(Workflow):
    """Collects again after it has collected."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        for n in range(6):
            ctx.send_event(A(n=n))
        return None

    @step(num_workers=1)
    async def gather(self, ctx: Context, ev: A) -> StopEvent | None:
        found = ctx.collect_events(ev, [A, A])
        if found is None:
            return None
        ctx.write_event_to_stream(Note(text=str([each.n for each in found])))
        return StopEvent(result="done") if found[-1].n == 5 else None


class TwoCollectors(Workflow):
    """Two steps collect the same events, each for itself."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        for n in range(4):
            ctx.send_event(A(n=n))
        return None

    @step
    async def one(self, ctx: Context, ev: A) -> End | None:
        found = ctx.collect_events(ev, [A] * 4)
        return End(text=f"one {len(found)}") if found else None

    @step
    async def two(self, ctx: Context, ev: A) -> End | None:
        found = ctx.collect_events(ev, [A] * 4)
        return End(text=f"two {len(found)}") if found else None

    @step
    async def end(self, ctx: Context, ev: End) -> StopEvent | None:
        ends = ctx.collect_events(ev, [End, End])
        return StopEvent(result=sorted(each.text for each in ends)) if ends else None


class AtOnce(Workflow):
    """Many attempts collect at once, each after it has waited for something."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        for n in range(20):
            ctx.send_event(A(n=n))
        return None

    @step(num_workers=10)
    async def gather(self, ctx: Context, ev: A) -> StopEvent | None:
        await asyncio.sleep(0.001 * (ev.n % 3))
        found = ctx.collect_events(ev, [A] * 20)
        await asyncio.sleep(0.001 * (ev.n % 2))
        if found is None:
            return None
        ctx.write_event_to_stream(Note(text="complete"))
        return StopEvent(result=sorted(each.n for each in found))
