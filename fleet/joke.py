"""
The joke workflow: write a joke about a topic, then criticise it.

    faust -A fleet.joke worker -l info
"""

from fleet import LLM, Event, StopEvent, Workflow, serve, step


class StartEvent(Event):
    """What the joke is to be about."""

    topic: str


class JokeEvent(Event):
    """A joke that was written."""

    joke: str


class JokeFlow(Workflow):
    """`run(topic="pirates")` gives the critique of a joke about pirates."""

    llm = LLM()

    @step
    async def generate_joke(self, ev: StartEvent) -> JokeEvent:
        """Write a joke."""
        answer = await self.llm.complete(f"Write your best joke about {ev.topic}.")
        return JokeEvent(joke=str(answer))

    @step
    async def critique_joke(self, ev: JokeEvent) -> StopEvent:
        """Criticise it."""
        answer = await self.llm.complete(
            f"Give a thorough analysis and critique of the following joke: {ev.joke}"
        )
        return StopEvent(result=str(answer))


app = serve(JokeFlow)
