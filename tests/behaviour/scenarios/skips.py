"""Steps and workflows that leave out a check of the graph."""

from fleet import Event, StartEvent, StopEvent, Workflow, step


class A(Event):
    pass


class B(Event):
    pass


class Outer(Event):
    o: int


class Inner(Event):
    o: int
    i: int


class Task(Event):
    n: int


class Done(Event):
    n: int


class SkipsByStep(Workflow):
    """Has an island and a circle, and says so at the steps."""

    @step
    async def begin(self, ev: StartEvent) -> A | StopEvent:
        return StopEvent(result="fine")

    @step(skip_graph_checks=["dead_end"])
    async def circle(self, ev: A) -> A:
        return A()

    @step(skip_graph_checks=["reachability"])
    async def island(self, ev: B) -> B | StopEvent:
        return B()


class SkipsForAll(Workflow):
    """Has an island and a circle, and says so once."""

    @step
    async def begin(self, ev: StartEvent) -> A | StopEvent:
        return StopEvent(result="fine")

    @step
    async def circle(self, ev: A) -> A:
        return A()

    @step
    async def island(self, ev: B) -> B | StopEvent:
        return B()


class InnerWithoutAJoin(Workflow):
    """One kind of branch fans out, and nothing joins that: it gives the outer join nothing."""

    @step
    async def split(self, ev: StartEvent) -> list[Outer | Task]:
        return [Outer(o=0), Task(n=1), Task(n=2)]

    @step(skip_graph_checks=["dead_end"])
    async def split_inner(self, ev: Outer) -> list[Inner]:
        return [Inner(o=ev.o, i=i) for i in range(2)]

    @step
    async def drop(self, ev: Inner) -> None:
        return None

    @step
    async def work(self, ev: Task) -> Done:
        return Done(n=ev.n)

    @step
    async def join(self, events: list[Done]) -> StopEvent:
        return StopEvent(result=sorted(each.n for each in events))


OPTIONS = {"SkipsForAll": {"skip_graph_checks": {"reachability", "dead_end"}}}
