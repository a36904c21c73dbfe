"""Token streaming: what a model says is shown word by word, while several steps stream at once."""

from collections.abc import AsyncIterator

from tenacity import retry_if_exception_type, stop_after_attempt, wait_fixed

from fleet import Context, Event, StartEvent, StopEvent, Workflow, retry_policy, step


class Token(Event):
    text: str
    branch: str = ""


class Line(Event):
    speaker: str
    about: str


class Spoken(Event):
    speaker: str
    text: str


class Busy(ConnectionError):
    """Raised when the model takes no call now."""


class StreamCut(ConnectionError):
    """Raised when the model's stream ends before its last word."""


async def model(about: str, attempt: int) -> AsyncIterator[str]:
    """Yield the words of an answer, as a model does."""
    if about == "queues" and attempt == 1:
        raise Busy("try again")
    for number, word in enumerate(["Well", ",", " ", "about", " ", about, "."]):
        if about == "scissors" and number == 3:
            raise StreamCut(f"after {number} words")
        yield word


class Talk(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> list[Line]:
        return [Line(speaker=speaker, about=about) for speaker, about in ev.lines.items()]

    @step(
        num_workers=4,
        retry_policy=retry_policy(
            retry=retry_if_exception_type(Busy), wait=wait_fixed(0.01), stop=stop_after_attempt(3)
        ),
    )
    async def speak(self, ctx: Context, ev: Line) -> Spoken:
        words = []
        async for word in model(ev.about, ctx.retry_info().retry_number + 1):
            ctx.write_event_to_stream(Token(text=word, branch=ev.speaker))
            words.append(word)
        return Spoken(speaker=ev.speaker, text="".join(words))

    @step
    async def end(self, ctx: Context, spoken: list[Spoken]) -> StopEvent:
        async for word in model("the end", 1):
            ctx.write_event_to_stream(Token(text=word))
        return StopEvent(result={each.speaker: each.text for each in spoken})


FLOW = "Talk"
INPUTS = [
    {"lines": {"Ann": "cats"}},
    {"lines": {"Ann": "cats", "Bo": "dogs", "Cy": "queues"}},
    # No branch: what a failed run has shown before its failure is compared, too.
    {"lines": {"": "scissors"}},
]
