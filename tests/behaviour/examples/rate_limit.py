"""A service that answers 429 with a Retry-After: calls are made again, and the bill is right."""

from tenacity import retry_if_exception_type, stop_after_attempt, wait_fixed

from fleet import Context, Event, StartEvent, StopEvent, Workflow, retry_policy, step


class Note(Event):
    text: str
    branch: str = ""


class Page(Event):
    number: int
    busy: int


class Summary(Event):
    number: int
    text: str


class RateLimited(Exception):
    """Raised for an answer with status 429."""

    def __init__(self, number: int, retry_after: float) -> None:
        super().__init__(f"page {number}: 429 Too Many Requests")
        #: What the header Retry-After says, in seconds. Fleet waits at least so long.
        self.retry_after = retry_after


class Unreadable(ValueError):
    """Raised for a page that no try makes readable."""


class RateLimit(Workflow):
    """Summarises pages with a service that is busy now and then."""

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> list[Page]:
        await ctx.store.set("title", ev.title)
        return [Page(number=number, busy=busy) for number, busy in enumerate(ev.busy)]

    @step(
        num_workers=8,
        retry_policy=retry_policy(
            retry=retry_if_exception_type(RateLimited),
            wait=wait_fixed(0.01),
            stop=stop_after_attempt(4),
        ),
    )
    async def summarise(self, ctx: Context, ev: Page) -> Summary:
        calls = ctx.retry_info().retry_number + 1
        if ev.busy < 0:
            raise Unreadable(f"page {ev.number} is empty")
        if calls <= ev.busy:
            raise RateLimited(ev.number, retry_after=0.02 * calls)
        ctx.write_event_to_stream(Note(text=f"summarised with call {calls}", branch=f"{ev.number}"))
        return Summary(number=ev.number, text=f"page {ev.number} after {calls}")

    @step
    async def bind(self, ctx: Context, parts: list[Summary]) -> StopEvent:
        title = await ctx.store.get("title")
        ordered = sorted(parts, key=lambda part: part.number)
        return StopEvent(result=f"{title}: {', '.join(part.text for part in ordered)}")


FLOW = "RateLimit"
INPUTS = [
    {"title": "quiet", "busy": [0, 0]},
    {"title": "busy", "busy": [0, 1, 3, 2]},
    {"title": "too busy", "busy": [0, 4]},
    {"title": "broken", "busy": [0, -1, 0]},
]
