"""
A workflow that pays: calls with `ctx.memo`, and answers of a model.

What was called stands in a file, a line for each call: it outlives the worker.
"""

import asyncio
import os
from pathlib import Path

from pydantic import BaseModel
from tenacity import stop_after_attempt, wait_none

from fleet import (
    LLM,
    NOT_DONE,
    Context,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    retry_policy,
    serve,
    step,
)

#: Another attempt at once, twice.
TWICE_MORE = retry_policy(wait=wait_none(), stop=stop_after_attempt(3))


class Price(BaseModel):
    cents: int


class Asked(InputRequiredEvent):
    answer: str


class Approved(HumanResponseEvent):
    by: str


def note(run_id: str, what: str) -> None:
    """Write a line; return when it is in the file."""
    with Path(os.environ["MEMO_CALLS"]).open("a") as calls:
        calls.write(f"{run_id}: {what}\n")


def noted(run_id: str) -> list[str]:
    """Return the lines of a run so far."""
    calls = Path(os.environ["MEMO_CALLS"])
    lines = calls.read_text().splitlines() if calls.exists() else []
    return [line.removeprefix(f"{run_id}: ") for line in lines if line.startswith(f"{run_id}: ")]


class MemoFlow(Workflow[str]):
    """Its one step calls several times, and waits at gates before it goes on, or for a person."""

    llm = LLM(max_retries=0)

    @step(retry_policy=TWICE_MORE)
    async def compare(self, ctx: Context, ev: StartEvent) -> StopEvent:
        async def ask() -> list[Price]:
            note(ctx.run_id, "ask")
            return [Price(cents=250), Price(cents=199)]

        async def order() -> int:
            note(ctx.run_id, "order")
            await self._gate(ctx, "order")
            return 7

        async def look() -> int:
            note(ctx.run_id, "look")
            return 7 if ev.get("ordered") else NOT_DONE

        async def share() -> str:
            note(ctx.run_id, "shared")
            return "shared"

        prices = await ctx.memo("prices", ask)
        shared = await ctx.memo("shared", share, scope="run")
        first = await self.llm.complete("first")
        last = await self.llm.complete("last")
        await self._gate(ctx, "compare")
        if ctx.attempt <= ev.get("refuses", 0):
            raise ValueError(f"{last} is no valid answer")
        if ev.get("asks"):
            said = await ctx.wait_for_event(Approved, waiter_event=Asked(answer=str(last)))
            return StopEvent(result=f"approved by {said.by}")
        number = await ctx.memo("order", order, reconcile=look)
        cents = min(price.cents for price in prices)
        return StopEvent(result=f"{cents} {shared} {number} {bool(str(first))}")

    async def _gate(self, ctx: Context, place: str) -> None:
        gate = os.environ.get("MEMO_GATE")
        note(ctx.run_id, f"at {place}")
        while gate is not None and not Path(f"{gate} {place}").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


app = serve(MemoFlow)
