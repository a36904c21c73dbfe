"""
The workflow that faults are injected around: `faust -A fault_flow worker`.

Each step asks the scripted model, which knows by the prompt for which run and step it was asked and
when the attempt began, and by `user` (WORKER_NAME) by which process. Each attempt has a mark of its
own that goes into what it returns, so that a result which mixes attempts can be told from one that
does not.
"""

import os
import time
from uuid import uuid4

from fleet import LLM, Context, Event, StartEvent, StopEvent, Workflow, serve, step


class Draft(Event):
    text: str
    mark: str


class Verdict(StopEvent):
    topic: str
    #: The mark of the attempt of `tell` whose draft was judged, and the one that the context has.
    told: str
    remembered: str
    text: str


def _prompt(step_name: str, ctx: Context, detail: str) -> str:
    return f"{step_name} {ctx.run_id} {time.time():.6f} {detail}"


class FaultFlow(Workflow, workflow="fault"):
    # A call that is tried again within an attempt would look like another attempt.
    llm = LLM(max_retries=0, user=os.environ.get("WORKER_NAME", ""))

    @step
    async def tell(self, ctx: Context, ev: StartEvent) -> Draft:
        mark = uuid4().hex
        answer = await self.llm.complete(_prompt("tell", ctx, ev.get("topic")))
        await ctx.store.set("told", {"mark": mark, "topic": ev.get("topic")})
        return Draft(text=str(answer), mark=mark)

    @step
    async def judge(self, ctx: Context, ev: Draft) -> Verdict:
        answer = await self.llm.complete(_prompt("judge", ctx, ev.mark))
        told = await ctx.store.get("told")
        return Verdict(topic=told["topic"], told=ev.mark, remembered=told["mark"], text=str(answer))


app = serve(FaultFlow)
