"""
Three releases of one workflow: `faust -A renamed_flow worker` with RENAMED_RELEASE.

`old` asks a person in the step `ask`. `without` has no such step. In `new` it has another name and
says so.
"""

import os
from pathlib import Path

from fleet import Context, HumanResponseEvent, StartEvent, StopEvent, Workflow, serve, step


class Approved(HumanResponseEvent):
    by: str


async def approved(ctx: Context) -> StopEvent:
    async def pay() -> str:
        with Path(os.environ["RENAMED_CALLS"]).open("a") as calls:
            calls.write(f"{ctx.run_id}\n")
        return "a draft"

    draft = await ctx.memo("draft", pay)
    answer = await ctx.wait_for_event(Approved, timeout=None)
    return StopEvent(result=f"{draft}, approved by {answer.by}")


class OldFlow(Workflow, workflow="renamed"):
    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return await approved(ctx)


class WithoutFlow(Workflow, workflow="renamed"):
    @step
    async def refuse(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result="refused")


class NewFlow(Workflow, workflow="renamed"):
    @step(formerly="ask")
    async def ask_person(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return await approved(ctx)


RELEASES = {"old": OldFlow, "without": WithoutFlow, "new": NewFlow}
app = serve(RELEASES[os.environ.get("RENAMED_RELEASE", "old")])
