"""When the scripted model was asked what and by whom."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest

from fleet.dev.llm import Behaviour, Fault, ScriptedLLM


@pytest.fixture
async def server() -> AsyncIterator[ScriptedLLM]:
    async with ScriptedLLM(Behaviour(journal=True)) as scripted:
        yield scripted


async def ask(server: ScriptedLLM, prompt: str, **options: Any) -> None:
    async with openai.AsyncOpenAI(
        base_url=server.base_url, api_key="scripted", max_retries=0
    ) as client:
        await client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": prompt}], **options
        )


async def entries(server: ScriptedLLM, after: object = 0) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.root_url}/journal", params={"after": str(after)}) as response,
    ):
        return response.status, await response.json()


async def test_a_call_is_noted_when_it_comes_and_when_it_is_answered(server: ScriptedLLM) -> None:
    """Time, prompt and caller are there, and the answer is told by the call's number."""
    await ask(server, "hello", user="worker-1")
    _, report = await entries(server)
    started, answered = report["entries"]
    assert (started["call"], started["what"], answered["what"]) == (1, "started", "answered")
    assert (started["prompt"], started["user"]) == ("hello", "worker-1")
    assert answered["call"] == started["call"]
    assert started["at"] <= answered["at"]


async def test_only_what_is_new_is_told(server: ScriptedLLM) -> None:
    """A reader goes on at the number that it got, so that it reads nothing twice."""
    await ask(server, "one")
    _, before = await entries(server)
    await ask(server, "two")
    _, report = await entries(server, before["next"])
    assert [each["prompt"] for each in report["entries"]] == ["two", ""]
    assert report["next"] == 4


async def test_a_fault_is_no_answer(server: ScriptedLLM) -> None:
    """A call that fails has begun and is not answered."""
    server.script.change({"faults": [Fault(kind="500")]})
    with pytest.raises(openai.InternalServerError):
        await ask(server, "hello")
    _, report = await entries(server)
    assert [each["what"] for each in report["entries"]] == ["started"]


async def test_nothing_is_kept_unless_asked_for() -> None:
    """A server that runs for long does not grow by its journal."""
    async with ScriptedLLM() as server:
        await ask(server, "hello")
        assert (await entries(server))[1]["entries"] == []


async def test_a_place_that_is_no_number_is_refused(server: ScriptedLLM) -> None:
    """The mistake is named."""
    status, answer = await entries(server, "last")
    assert status == 400
    assert "after" in answer["error"]["message"]
