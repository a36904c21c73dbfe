"""A join of several parameters: three steps prepare the parts of a letter, one puts it together."""

from fleet import Context, Event, StartEvent, StopEvent, Workflow, step


class Note(Event):
    text: str
    branch: str = ""


class Greeting(Event):
    text: str


class Content(Event):
    text: str
    pages: int


class Signature(Event):
    text: str


class Letter(StopEvent):
    text: str
    pages: int


class NoAddressee(LookupError):
    """Raised when a letter is to no one."""


class Parts(Workflow):
    @step
    async def greet(self, ctx: Context, ev: StartEvent) -> Greeting:
        if not ev.to:
            raise NoAddressee("to whom?")
        ctx.write_event_to_stream(Note(text="greeting", branch="greet"))
        return Greeting(text=f"Dear {ev.to},")

    @step
    async def write(self, ctx: Context, ev: StartEvent) -> Content:
        for page in range(ev.pages):
            ctx.write_event_to_stream(Note(text=f"page {page}", branch="write"))
        return Content(text="...", pages=ev.pages)

    @step
    async def sign(self, ctx: Context, ev: StartEvent) -> Signature:
        ctx.write_event_to_stream(Note(text="signature", branch="sign"))
        return Signature(text="Yours")

    @step
    async def put_together(
        self, ctx: Context, signature: Signature, greeting: Greeting, content: Content
    ) -> Letter:
        ctx.write_event_to_stream(Note(text="complete"))
        whole = f"{greeting.text} {content.text} {signature.text}"
        return Letter(text=whole, pages=content.pages)


FLOW = "Parts"
INPUTS = [{"to": "Ann", "pages": 2}, {"to": "Bo", "pages": 0}, {"to": "", "pages": 0}]
