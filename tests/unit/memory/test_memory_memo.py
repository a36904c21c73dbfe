"""Recorded calls of runs in memory: retries and waits pay nothing again but what was refused."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from memo_flow import Approved, Asked, MemoFlow, note, noted

from fleet import (
    LLM,
    Context,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)
from fleet.dev.llm import Fault, ScriptedLLM


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScriptedLLM]:
    """The model of the workflow, and the file of its calls."""
    monkeypatch.setenv("MEMO_CALLS", str(tmp_path / "calls"))
    async with ScriptedLLM() as scripted:
        monkeypatch.setenv("OPENAI_BASE_URL", scripted.base_url)
        yield scripted
        await MemoFlow.llm.aclose()


def asked(server: ScriptedLLM) -> dict[str, int]:
    """Return how often each prompt was asked."""
    return {count.prompt: count.started for count in server.counts.prompts.values()}


async def test_each_call_is_made_once(server: ScriptedLLM) -> None:
    """And its value comes as it was."""
    assert await MemoFlow(timeout=20).run(run_id="r") == "199 shared 7 True"
    assert noted("r") == ["ask", "shared", "at compare", "order", "at order"]
    assert asked(server) == {"first": 1, "last": 1}


async def test_a_step_that_refuses_an_answer_gets_another(server: ScriptedLLM) -> None:
    """An invalid answer in two attempts, a valid one in the third."""
    assert await MemoFlow(timeout=20).run(run_id="r", refuses=2) == "199 shared 7 True"
    assert noted("r") == ["ask", "shared", *["at compare"] * 3, "order", "at order"]
    assert asked(server) == {"first": 1, "last": 3}


async def test_a_retry_after_a_failed_call_pays_no_answer_again(server: ScriptedLLM) -> None:
    """The model was busy at the last one."""
    busy = Fault(kind="429", next=2, containing="last", retry_after_seconds=0)
    server.script.change({"faults": [busy]})
    assert await MemoFlow(timeout=20).run(run_id="r") == "199 shared 7 True"
    assert asked(server) == {"first": 1, "last": 3}


class Approval(Workflow[str]):
    """Asks the model, sleeps, and asks a person what it thinks of the answer."""

    llm = LLM(max_retries=0)

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        def tone() -> str:
            note(ctx.run_id, "tone")
            return "dry"

        answer = await self.llm.complete("first")
        kind = await ctx.memo("tone", tone)
        await ctx.sleep(0.01)
        said = await ctx.wait_for_event(Approved, waiter_event=Asked(answer=str(answer)))
        last = await self.llm.complete(f"last, {kind}, for {said.by}")
        return StopEvent(result=f"{said.by} {bool(str(last))}")


async def test_waits_pay_nothing_again(server: ScriptedLLM) -> None:
    """A sleep and a person: the step runs from its top after each, and calls nothing again."""
    handler = Approval(timeout=20).run(run_id="r")
    async for event in handler.stream_events():
        if isinstance(event, Asked):
            await handler.send_event(Approved(by="Ann"))
    assert await handler == "Ann True"
    assert noted("r") == ["tone"]
    assert asked(server) == {"first": 1, "last, dry, for Ann": 1}
    await Approval.llm.aclose()
