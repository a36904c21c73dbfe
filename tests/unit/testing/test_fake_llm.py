"""The fake model: answers by the prompt, and recorded as those of a real one."""

import pytest
from tenacity import stop_after_attempt, wait_fixed

from fleet import LLM, StartEvent, StopEvent, Workflow, retry_policy, step
from fleet.testing import FakeLLM, fail_step
from fleet.testing.fake_llm import NoFakeAnswer, NoFakeClient


class Poem(Workflow[str]):
    """Writes and rates."""

    llm = LLM()

    @step(retry_policy=retry_policy(wait=wait_fixed(0), stop=stop_after_attempt(3)))
    async def write(self, ev: StartEvent) -> StopEvent:
        poem = await self.llm.complete(f"Write a poem\nabout {ev['topic']}.", system="Be brief.")
        pieces = [piece async for piece in self.llm.stream(f"Rate: {poem}")]
        return StopEvent(result="|".join(pieces))


def flow(llm: FakeLLM) -> Poem:
    made = Poem(timeout=20)
    made.llm = llm
    return made


async def test_the_first_pattern_that_is_found_answers() -> None:
    """A regular expression over all lines of the prompt; pieces as a model streams them."""
    llm = FakeLLM({"poem.*rain": "Drip.", "Rate: Drip": "Nine of  ten.", "": "else"})
    assert await flow(llm).run(topic="rain") == "Nine| of|  ten."
    assert llm.prompts == ["Write a poem\nabout rain.", "Rate: Drip."]
    assert llm.requests[0]["messages"][0] == {"role": "system", "content": "Be brief."}


async def test_answers_are_functions_lists_and_errors() -> None:
    """A list is used up in order."""
    llm = FakeLLM({"poem": [OSError("busy"), str.upper], "Rate": lambda prompt: prompt[-5:]})
    assert await flow(llm).run(topic="rain") == "RAIN."
    assert len(llm.prompts) == 3


async def test_a_prompt_without_an_answer_is_named() -> None:
    """With the patterns that there are."""
    llm = FakeLLM({"poem": ["one"], "Rate": "two"})
    with pytest.raises(NoFakeAnswer, match=r"'fly': .*'poem', 'Rate'"):
        await llm.complete("fly")
    await llm.complete("a poem")
    with pytest.raises(NoFakeAnswer, match="all answers of 'poem' have been given: 1"):
        await llm.complete("a poem")
    with pytest.raises(NoFakeAnswer, match=r"x{200}…"):
        await llm.complete("x" * 300)


async def test_what_was_paid_is_not_asked_again() -> None:
    """A step that raises refuses its last answer: that call alone is made again."""
    llm = FakeLLM({"poem": "Drip.", "Rate": "Nine."})
    made = flow(llm)
    with fail_step(made, "write", OSError("lost"), after=True):
        assert await made.run(topic="rain") == "Nine."
    assert [prompt[:4] for prompt in llm.prompts] == ["Writ", "Rate", "Rate"]


async def test_it_counts_and_is_labelled_as_a_model() -> None:
    """And has no client."""
    llm = FakeLLM({"": "two words"})
    answer = await llm.complete("three words here")
    assert (answer.prompt_tokens, answer.completion_tokens, answer.scripted) == (3, 2, True)
    with pytest.raises(NoFakeClient, match="scripted_llm"):
        _ = llm.client
