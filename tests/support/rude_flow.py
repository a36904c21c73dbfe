"""Steps that block the event loop, log, print and use sys.stdout as a file."""

import asyncio
import logging
import subprocess
import sys
import time

from fleet import Event, StartEvent, StopEvent, Workflow, serve, step

#: Longer than the watch needs to say so, in seconds.
BLOCKED_SECONDS = 3.0


class Blocked(Event):
    pass


class RudeFlow(Workflow, workflow="rude"):
    @step
    async def block(self, ev: StartEvent) -> Blocked:
        time.sleep(BLOCKED_SECONDS)
        return Blocked()

    @step
    async def speak(self, ev: Blocked) -> StopEvent:
        logging.getLogger("mine").warning("a line of the step")
        await asyncio.to_thread(logging.getLogger("mine").warning, "a line of its thread")
        sys.stdout.write("written by the step\n")
        subprocess.run(["echo", "echoed by a child"], stdout=sys.stdout, check=True)
        sys.stdout.buffer.write(b"bytes of the step\n")
        sys.stdout.flush()
        return StopEvent(result=sys.stdout.fileno())


app = serve(RudeFlow)
