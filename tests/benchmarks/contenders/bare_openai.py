"""The openai client by itself, as it comes: the same calls, nothing around them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from openai import AsyncOpenAI

from benchmarks import prompts
from benchmarks.contenders import fleet_llm
from benchmarks.scene import Line, Scene

ABOUT = "the openai client as it comes, making the same calls in the caller's process"
WORKLOADS = ("llm",)
_MODEL = "gpt-4o-mini"


def missing() -> str:
    """Nothing is."""
    return ""


async def _ask(client: AsyncOpenAI, prompt: str) -> str:
    answer = await client.chat.completions.create(
        model=_MODEL, messages=[{"role": "user", "content": prompt}]
    )
    return answer.choices[0].message.content or ""


@asynccontextmanager
async def serving(scene: Scene) -> AsyncIterator[Line]:
    """This process, and a model."""
    async with (
        fleet_llm.model(scene) as address,
        AsyncOpenAI(base_url=address, api_key="scripted", max_retries=0) as client,
    ):

        async def run(topic: str) -> str:
            told = await _ask(client, prompts.joke(prompts.subject(topic)))
            return prompts.checked(topic, await _ask(client, prompts.verdict(told)))

        yield Line(run, (os.getpid(),))
