"""
A workflow that pays, asks a person and pays again: `faust -A approval_flow worker`.

It asks the provider at PAYING_URL, which knows by WORKER_NAME which process asks.
"""

import os
from functools import partial

import aiohttp

from fleet import (
    Context,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    serve,
    step,
)

#: What is added to the number of an order for the call after its verdict.
AFTERWARDS = 1_000


class Order(StartEvent):
    number: int


class Review(InputRequiredEvent):
    number: int


class Verdict(HumanResponseEvent):
    number: int
    approved: bool


class ApprovalFlow(Workflow, workflow="approval"):
    @step
    async def ask(self, ctx: Context, ev: Order) -> StopEvent:
        draft = await ctx.memo("draft", partial(_paid, ev.number))
        verdict = await ctx.wait_for_event(
            Verdict, Review(number=ev.number), requirements={"number": ev.number}, timeout=None
        )
        final = await ctx.memo("final", partial(_paid, AFTERWARDS + ev.number))
        return StopEvent(result=[draft, verdict.approved, final])


async def _paid(number: int) -> int:
    asked = {"number": str(number), "worker": os.environ["WORKER_NAME"]}
    async with (
        aiohttp.ClientSession() as session,
        session.get(os.environ["PAYING_URL"], params=asked) as answer,
    ):
        paid: int = await answer.json()
        return paid


app = serve(ApprovalFlow)
