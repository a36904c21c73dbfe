"""A workflow that refuses what its model says: `faust -A judged_flow worker`."""

import os
from pathlib import Path

from fleet import LLM, Context, Event, StartEvent, StopEvent, Workflow, serve, step


class Draft(Event):
    text: str


class JudgedFlow(Workflow, workflow="judged"):
    llm = LLM(max_retries=0)

    @step
    async def write(self, ctx: Context, ev: StartEvent) -> Draft:
        _note("write")
        topic = ev.get("topic")
        await ctx.store.set("topic", topic)
        return Draft(text=str(await self.llm.complete(f"write about {topic}")))

    @step
    async def judge(self, ctx: Context, ev: Draft) -> StopEvent:
        _note("judge")
        topic = await ctx.store.get("topic")
        price = await ctx.memo("price", _price)
        verdict = str(await self.llm.complete(f"judge {ev.text}"))
        raise ValueError(f"{topic} at {price}: no verdict in {verdict!r}")


def _price() -> int:
    _note("price")
    return 7


def _note(what: str) -> None:
    with Path(os.environ["JUDGED_NOTES"]).open("a") as notes:
        notes.write(f"{what}\n")


app = serve(JudgedFlow)
