"""
A workflow whose runs end at once: `faust -A ends_flow worker`.

ENDS_SECONDS is how long the only step takes.
"""

import asyncio
import os
from typing import Any

from fleet import StartEvent, StopEvent, Workflow, serve, step

SECONDS = float(os.environ.get("ENDS_SECONDS", "0"))


class EndsFlow(Workflow):
    @step
    async def end(self, ev: StartEvent) -> StopEvent:
        await asyncio.sleep(SECONDS)
        return StopEvent(result="ended")


app: Any = serve(EndsFlow)
