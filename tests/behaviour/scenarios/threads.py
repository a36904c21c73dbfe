"""Steps that are plain functions run in threads."""

import threading

from fleet import Context, Event, StartEvent, StopEvent, Workflow, step


class Note(Event):
    """What a step says that it did."""

    text: str


class A(Event):
    n: int = 0


class B(Event):
    n: int = 0


class SyncOnly(Workflow):
    """Has plain functions alone."""

    @step
    def begin(self, ev: StartEvent) -> A:
        return A(n=1)

    @step
    def end(self, ev: A) -> StopEvent:
        return StopEvent(result=ev.n)


class SyncAndAsync(Workflow):
    """Has steps of both kinds."""

    @step
    async def begin(self, ev: StartEvent) -> A:
        return A(n=threading.get_ident())

    @step
    def between(self, ev: A) -> B:
        return B(n=int(threading.get_ident() != ev.n))

    @step
    async def end(self, ev: B) -> StopEvent:
        return StopEvent(result="another thread" if ev.n else "the same thread")


class SyncTogether(Workflow):
    """Two plain functions wait for one another: neither holds the event loop."""

    meeting = threading.Barrier(2, timeout=10)

    @step
    async def begin(self, ev: StartEvent) -> A:
        return A()

    @step
    def first(self, ev: A) -> B:
        self.meeting.wait()
        return B(n=1)

    @step
    def second(self, ev: A) -> B:
        self.meeting.wait()
        return B(n=2)

    @step
    def end(self, ctx: Context, ev: B) -> StopEvent | None:
        met = ctx.collect_events(ev, [B, B])
        return StopEvent(result=sorted(each.n for each in met)) if met else None


class SyncSends(Workflow):
    """A plain function sends and shows events."""

    @step
    def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        ctx.write_event_to_stream(Note(text="shown"))
        for n in range(3):
            ctx.send_event(A(n=n))
        return None

    @step(num_workers=1)
    def take(self, ctx: Context, ev: A) -> StopEvent | None:
        return StopEvent(result=ev.n) if ev.n == 2 else None


class SyncFails(Workflow):
    """A plain function raises."""

    @step
    def begin(self, ev: StartEvent) -> StopEvent:
        raise LookupError("not in the index")


class SyncCollects(Workflow):
    """A plain function collects."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        for n in range(3):
            ctx.send_event(A(n=n))
        return None

    @step
    def gather(self, ctx: Context, ev: A) -> StopEvent | None:
        found = ctx.collect_events(ev, [A] * 3)
        return StopEvent(result=sorted(each.n for each in found)) if found else None
