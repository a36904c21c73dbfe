"""A workflow whose step takes as long as its run says: `faust -A patience_flow worker`."""

import asyncio

from fleet import StartEvent, StopEvent, Workflow, serve, step


class PatienceFlow(Workflow):
    @step
    async def wait(self, ev: StartEvent) -> StopEvent:
        await asyncio.sleep(ev.get("seconds"))
        return StopEvent(result=ev.get("seconds"))


app = serve(PatienceFlow)
