"""
The joke flow with a language model; the program that serves it is under `programs`.

Without context: what is compared is the calls, and a bare client has none.
"""

from benchmarks import prompts
from fleet import LLM, Event, StopEvent, Workflow, step


class StartEvent(Event):
    topic: str


class JokeEvent(Event):
    joke: str


class LlmFlow(Workflow[str]):
    llm = LLM(max_retries=0)

    @step
    async def tell(self, ev: StartEvent) -> JokeEvent:
        return JokeEvent(joke=str(await self.llm.complete(prompts.joke(ev.topic))))

    @step
    async def judge(self, ev: JokeEvent) -> StopEvent:
        return StopEvent(result=str(await self.llm.complete(prompts.verdict(ev.joke))))
