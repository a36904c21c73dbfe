"""How many attempts run at once."""

import asyncio

from behaviour import gates
from fleet import Context, Event, StartEvent, StopEvent, Workflow, step


class Task(Event):
    n: int
    key: str


class Other(Event):
    n: int
    key: str


class Done(Event):
    n: int


async def together(name: str, number: int) -> None:
    """Go on once *number* are here, and count how many ever are."""
    if gates.enter(name) >= number:
        gates.open_gate(name)
    try:
        await gates.at_gate(name)
        # More would come now if anything let them.
        await asyncio.sleep(gates.SEEN_SECONDS)
    finally:
        gates.leave(name)


class TwoAtOnce(Workflow):
    """Lets two of seven attempts of a step run."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n, key=ev.key) for n in range(7)]

    @step(num_workers=2)
    async def work(self, ev: Task) -> Done:
        await together(ev.key, 2)
        return Done(n=ev.n)

    @step
    async def join(self, events: list[Done]) -> StopEvent:
        return StopEvent(result=len(events))


class FourByDefault(Workflow):
    """Says nothing of how many attempts may run."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n, key=ev.key) for n in range(7)]

    @step
    async def work(self, ev: Task) -> Done:
        await together(ev.key, 4)
        return Done(n=ev.n)

    @step
    async def join(self, events: list[Done]) -> StopEvent:
        return StopEvent(result=len(events))


class ByStep(Workflow):
    """Two steps of one attempt each run beside one another."""

    @step
    async def split(self, ev: StartEvent) -> list[Task | Other]:
        tasks: list[Task | Other] = [Task(n=n, key=ev.key) for n in range(3)]
        return [*tasks, *(Other(n=n, key=ev.key) for n in range(3))]

    @step(num_workers=1)
    async def one(self, ev: Task) -> Done:
        await together(f"{ev.key}{ev.n}", 2)
        return Done(n=ev.n)

    @step(num_workers=1)
    async def other(self, ev: Other) -> Done:
        await together(f"{ev.key}{ev.n}", 2)
        return Done(n=ev.n)

    @step
    async def join(self, events: list[Done]) -> StopEvent:
        return StopEvent(result=len(events))


class ByRun(Workflow):
    """One attempt of a run at once: three runs have three."""

    @step(num_workers=1)
    async def begin(self, ev: StartEvent) -> StopEvent:
        await together(ev.key, 3)
        return StopEvent(result=ev.n)


class QueueUp(Workflow):
    """Attempts that wait begin in the order in which their events came."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Task | None:
        for n in range(10):
            ctx.send_event(Task(n=n, key=ev.key))
        return None

    @step(num_workers=2)
    async def work(self, ctx: Context, ev: Task) -> Done:
        begun = await ctx.store.get("begun", default=None)
        gates.enter(f"{ev.key}begun")
        number = gates.most(f"{ev.key}begun")
        await asyncio.sleep(0.002)
        return Done(n=ev.n if begun is None and number == ev.n + 1 else -1)

    @step
    async def join(self, ctx: Context, ev: Done) -> StopEvent | None:
        done = ctx.collect_events(ev, [Done] * 10)
        return StopEvent(result=sorted(each.n for each in done)) if done else None


class OneRun(Workflow):
    """One run at a time."""

    @step
    async def begin(self, ev: StartEvent) -> Task:
        gates.enter(ev.key)
        return Task(n=ev.n, key=ev.key)

    @step
    async def end(self, ev: Task) -> StopEvent:
        await asyncio.sleep(0.005)
        gates.leave(ev.key)
        return StopEvent(result=ev.n)


class AnyRuns(Workflow):
    """As many runs as there are."""

    @step
    async def begin(self, ev: StartEvent) -> Task:
        return Task(n=ev.n, key=ev.key)

    @step
    async def end(self, ev: Task) -> StopEvent:
        await together(ev.key, 4)
        return StopEvent(result=ev.n)


OPTIONS = {"OneRun": {"num_concurrent_runs": 1}}
