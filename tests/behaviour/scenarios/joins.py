"""Steps with several event parameters."""

from fleet import Context, Event, StartEvent, StopEvent, Workflow, step


class Note(Event):
    """What a step says that it did."""

    text: str


class Header(Event):
    text: str


class Body(Event):
    text: str


class Footer(Event):
    text: str


class LongHeader(Header):
    pass


class LongBody(Body):
    pass


class Page(Event):
    text: str


class Task(Event):
    n: int


class Left(Event):
    n: int


class Right(Event):
    n: int


class Pair(Event):
    left: int
    right: int


class ThreeParts(Workflow):
    """A step waits for one event of each of three types, which come in another order."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Header | Body | Footer | None:
        ctx.send_event(Footer(text="f"))
        ctx.send_event(Header(text="h"))
        ctx.send_event(Body(text="b"))
        return None

    @step
    async def page(self, ctx: Context, h: Header, b: Body, f: Footer) -> StopEvent:
        ctx.write_event_to_stream(Note(text="once"))
        await ctx.store.set("page", h.text + b.text + f.text)
        return StopEvent(result=await ctx.store.get("page"))


class PartsOfSteps(Workflow):
    """The parts come from steps of their own."""

    @step
    async def header(self, ev: StartEvent) -> Header:
        return Header(text=f"h {ev.topic}")

    @step
    async def body(self, ev: StartEvent) -> Body:
        return Body(text=f"b {ev.topic}")

    @step
    async def page(self, header: Header, body: Body) -> StopEvent:
        return StopEvent(result=[header.text, body.text])


class SameType(Workflow):
    """Two parameters of one type are filled in the order of arrival, again and again."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Header | None:
        for text in "abcdef":
            ctx.send_event(Header(text=text))
        return None

    @step(num_workers=1)
    async def pair(self, first: Header, second: Header, ctx: Context) -> Page:
        ctx.write_event_to_stream(Note(text=first.text + second.text))
        return Page(text=first.text + second.text)

    @step
    async def end(self, ctx: Context, ev: Page) -> StopEvent | None:
        pages = ctx.collect_events(ev, [Page] * 3)
        return StopEvent(result=[each.text for each in pages]) if pages else None


class SubclassParts(Workflow):
    """Its parameters take subclasses."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Header | Body | None:
        ctx.send_event(LongBody(text="B"))
        ctx.send_event(LongHeader(text="H"))
        return None

    @step(accept_event_subclasses=True)
    async def page(self, h: Header, b: Body) -> StopEvent:
        return StopEvent(result=[type(h).__name__, h.text, type(b).__name__, b.text])


class OverlappingParts(Workflow):
    """Of two parameters that both could take an event, the exact one gets it."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Header | LongHeader | None:
        ctx.send_event(Header(text="short"))
        ctx.send_event(LongHeader(text="long"))
        return None

    @step(accept_event_subclasses=True)
    async def page(self, short: Header, long: LongHeader) -> StopEvent:
        return StopEvent(result=[short.text, long.text])


class OwnBuffer(Workflow):
    """A join collects events as well: it has not collected those that it waited for."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Header | Body | None:
        ctx.send_event(Header(text="h"))
        ctx.send_event(Body(text="b"))
        return None

    @step
    async def page(self, ctx: Context, h: Header, b: Body) -> StopEvent:
        return StopEvent(result=ctx.collect_events(b, [Header, Body]))


class PartMissing(Workflow):
    """One part never comes; another step ends the run."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Header | Body | Page | None:
        ctx.send_event(Header(text="h"))
        return Page(text="p")

    @step
    async def page(self, ctx: Context, h: Header, b: Body) -> StopEvent:
        return StopEvent(result="joined")

    @step
    async def end(self, ev: Page) -> StopEvent:
        return StopEvent(result="without a body")


class PartsInBranches(Workflow):
    """Two steps take each branch, a join pairs what they give, and a list join ends it."""

    @step
    async def split(self, ev: StartEvent) -> list[Task]:
        return [Task(n=n) for n in range(3)]

    @step
    async def left(self, ev: Task) -> Left:
        return Left(n=ev.n)

    @step
    async def right(self, ev: Task) -> Right:
        return Right(n=ev.n + 10)

    @step
    async def pair(self, left: Left, right: Right) -> Pair:
        return Pair(left=left.n, right=right.n)

    @step
    async def join(self, events: list[Pair]) -> StopEvent:
        lefts = sorted(each.left for each in events)
        rights = sorted(each.right for each in events)
        return StopEvent(result=[lefts, rights])
