"""A workflow whose step runs two of `nested_child_flow` side by side, and gives their sum."""

import asyncio

from nested_child_flow import ChildFlow, Number

from fleet import Context, StartEvent, StopEvent, Workflow, serve, step


class ParentFlow(Workflow[int], workflow="nestedparent"):
    """See the module."""

    child = ChildFlow(timeout=120)

    @step
    async def add(self, ctx: Context, ev: StartEvent) -> StopEvent:
        first = Number(number=ev.get("number"), seconds=ev.get("seconds", 2.0))
        left, right = await asyncio.gather(
            ctx.run_workflow(self.child, first),
            ctx.run_workflow(ChildFlow, number=1, bad=ev.get("bad", False), timeout=120),
        )
        return StopEvent(result=left.number + right.number)


app = serve(ParentFlow)
