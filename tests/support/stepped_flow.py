"""
A workflow whose step sets its worker's wall clock: `faust -A stepped_flow worker`.

The clock is set by as many seconds as the run says, and then the step takes some time.
"""

import asyncio
import time

from fleet import StartEvent, StopEvent, Workflow, serve, step

_true, _ahead = time.time, 0.0


def _shown() -> float:
    return _true() + _ahead


time.time = _shown


class SteppedFlow(Workflow):
    @step
    async def set_clock(self, ev: StartEvent) -> StopEvent:
        global _ahead  # noqa: PLW0603 - of the process, as its clock is
        _ahead += ev.get("ahead")
        await asyncio.sleep(ev.get("seconds"))
        return StopEvent(result=round(time.time() - _true()))


app = serve(SteppedFlow)
