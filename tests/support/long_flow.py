"""
A workflow with a long step: `faust -A long_flow worker`.

It takes LONG_SECONDS, may take LONG_TIMEOUT, logs `answering` when it begins, and its result tells
which process ran it. LONG_POLL_SECONDS and LONG_REBALANCE_SECONDS are how long Kafka waits for the
worker.
"""

import asyncio
import logging
import os

from fleet import StartEvent, StopEvent, Workflow, serve, step

SECONDS = float(os.environ.get("LONG_SECONDS", "0.05"))
TIMEOUT = float(os.environ.get("LONG_TIMEOUT", "600"))


class LongFlow(Workflow):
    @step(timeout=TIMEOUT)
    async def answer(self, ev: StartEvent) -> StopEvent:
        logging.getLogger("long").warning("answering %s", ev.get("name"))
        await asyncio.sleep(SECONDS if ev.get("name") else 0)
        return StopEvent(result=os.getpid())


app = serve(LongFlow)
if "LONG_POLL_SECONDS" in os.environ:
    app.conf.broker_max_poll_interval = float(os.environ["LONG_POLL_SECONDS"])
    app.conf.broker_rebalance_timeout = float(os.environ["LONG_REBALANCE_SECONDS"])
