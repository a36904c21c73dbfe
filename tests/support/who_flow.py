"""
A workflow whose result tells which process ran it: `faust -A who_flow worker`.

Its step takes WHO_SECONDS; with WHO_LOGS it logs `answering` when it begins.
"""

import asyncio
import logging
import os

from fleet import StartEvent, StopEvent, Workflow, serve, step

SECONDS = float(os.environ.get("WHO_SECONDS", "0.05"))


class WhoFlow(Workflow):
    @step
    async def answer(self, ev: StartEvent) -> StopEvent:
        if os.environ.get("WHO_LOGS"):
            logging.getLogger("who").warning("answering")
        await asyncio.sleep(SECONDS)
        return StopEvent(result=os.getpid())


app = serve(WhoFlow)
