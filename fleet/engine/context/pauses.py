"""
Pauses of steps: a sleep, and a wait for an event. Each returns if it is over, or ends the attempt.

The attempt says what it waits for, and whatever it still does has no effect.
"""

import asyncio
import math
from typing import TYPE_CHECKING

from fleet.records.calls import Call
from fleet.workflow.suspending import Sleep, Suspend

if TYPE_CHECKING:
    from fleet.engine.attempts import Attempt
    from fleet.engine.clock import BrokerClock
    from fleet.engine.context.calls import AttemptCalls
    from fleet.workflow.waiting import EventWait

#: What is left of a sleep that was suspended is slept in the attempt, up to this many milliseconds:
#: the clock may have been corrected by a little since its time had come.
_LEFT_MS = 1_000


async def sleep(
    attempt: "Attempt", calls: "AttemptCalls", clock: "BrokerClock", number: int, seconds: float
) -> None:
    """Return if the step has slept enough; else end its attempt."""
    call = Call("sleep", f"{number}")
    noted = await calls.read(call)
    now_ms = clock.now_ms()
    due_ms = int(noted) if noted is not None else math.ceil(now_ms + seconds * 1000)
    if noted is not None and due_ms <= now_ms + _LEFT_MS:
        await asyncio.sleep((due_ms - now_ms) / 1000)
        return
    attempt.suspends = Sleep(call, due_ms)
    raise Suspend(attempt.suspends)


async def wait(attempt: "Attempt", calls: "AttemptCalls", wait: "EventWait") -> bytes:
    """Return what is recorded of a wait that has ended; else end the attempt."""
    for call in (wait.call, wait.former_call):
        noted = await calls.read(call) if call is not None else None
        if noted is not None:
            return noted
    # A question comes after what the step has shown before.
    await attempt.showing.acknowledged()
    attempt.suspends = wait
    raise Suspend(wait)
