"""An agent with tools: a model asks for tools, they run at once, and it gets their answers."""

from collections.abc import Callable

from fleet import Context, Event, StartEvent, StopEvent, Workflow, step


class Note(Event):
    text: str
    branch: str = ""


class Chat(Event):
    round: int


class ToolCall(Event):
    id: str
    tool: str
    numbers: list[int]
    round: int


class ToolAnswer(Event):
    id: str
    text: str
    round: int


class Answer(StopEvent):
    text: str
    calls: int


class TooManyRounds(RuntimeError):
    """Raised when the model does not come to an end."""


TOOLS: dict[str, Callable[[list[int]], int]] = {"add": sum, "most": max}


def model(question: str, answers: list[str]) -> tuple[list[tuple[str, list[int]]], str]:
    """Return the tools that the model asks for, or its text; it has no state of its own."""
    if question == "for ever":
        return [("add", [len(answers), 1])], ""
    if question == "hello":
        return [], "hello to you"
    if not answers:
        return [("add", [1, 2]), ("most", [3, 7, 5]), ("divide", [1, 0])], ""
    if len(answers) == 3:
        return [("add", [3, 7])], ""
    return [], f"{question} {answers[-1]}"


class Agent(Workflow):
    most_rounds = 4

    @step
    async def prepare(self, ctx: Context, ev: StartEvent) -> Chat:
        await ctx.store.set("question", ev.question)
        await ctx.store.set("answers", [])
        return Chat(round=1)

    @step
    async def ask(self, ctx: Context, ev: Chat) -> list[ToolCall] | Answer:
        if ev.round > self.most_rounds:
            raise TooManyRounds(f"no answer after {self.most_rounds} rounds")
        answers = await ctx.store.get("answers")
        calls, text = model(await ctx.store.get("question"), answers)
        ctx.write_event_to_stream(Note(text=f"round {ev.round}: {text or len(calls)}"))
        if not calls:
            return Answer(text=text, calls=len(answers))
        return [
            ToolCall(id=f"{ev.round}.{number}", tool=tool, numbers=numbers, round=ev.round)
            for number, (tool, numbers) in enumerate(calls)
        ]

    @step(num_workers=4)
    async def call(self, ctx: Context, ev: ToolCall) -> ToolAnswer:
        ctx.write_event_to_stream(Note(text=f"{ev.tool} {ev.numbers}", branch=ev.id))
        tool = TOOLS.get(ev.tool)
        # The model gets to know what is wrong; the run does not fail.
        text = str(tool(ev.numbers)) if tool else f"there is no tool {ev.tool}"
        ctx.write_event_to_stream(Note(text=text, branch=ev.id))
        return ToolAnswer(id=ev.id, text=text, round=ev.round)

    @step
    async def remember(self, ctx: Context, answers: list[ToolAnswer]) -> Chat:
        known = await ctx.store.get("answers")
        ordered = sorted(answers, key=lambda answer: answer.id)
        await ctx.store.set("answers", [*known, *(answer.text for answer in ordered)])
        return Chat(round=ordered[0].round + 1)


FLOW = "Agent"
INPUTS = [{"question": "hello"}, {"question": "the sum is"}, {"question": "for ever"}]
