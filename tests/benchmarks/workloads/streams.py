"""
W13: how long a token takes from the step that shows it to the caller that reads it.

One stream of 200 tokens a second, then 200 streams of one token a second each, then 1,000 tokens a
second of 200 streams. Both clocks are this machine's.
"""

import asyncio
import time

from benchmarks import load
from benchmarks.contenders import fleet_stream
from benchmarks.scene import Contender, Figures, Scene
from benchmarks.stream_flow import Token
from fleet import StartEvent
from fleet.client.connection import Connection

ABOUT = (
    "W13: tokens from step to caller: 1 stream at 200/s, 200 streams at 200/s and 1,000/s in all"
)
STEP_SECONDS = 0.0
PATIENCE_SECONDS = 300
#: Streams, tokens of each, and tokens a second of each, by the name of the figures.
LOADS = {"one": (1, 1_000, 200.0), "many": (200, 20, 1.0), "fast": (200, 100, 5.0)}


async def measure(contender: Contender, scene: Scene) -> Figures:
    """Return percentiles of the tokens' time, in milliseconds; `wrong` counts streams."""
    figures: Figures = {"runs": 0, "wrong": 0}
    async with contender.serving(scene) as line, fleet_stream.connection(scene) as flow:
        await load.ready(line)
        for name, (streams, most, per_second) in LOADS.items():
            tokens = scene.count(most)
            begun = time.perf_counter()
            found = await asyncio.gather(
                *(_read(flow, number / streams, tokens, per_second) for number in range(streams))
            )
            seconds = [one for stream in found for one in stream]
            figures |= {f"{name}_{at}": took for at, took in load.percentiles(seconds).items()}
            figures[f"{name}_wall_s"] = time.perf_counter() - begun
            figures["runs"] += streams
            figures["wrong"] += sum(len(stream) != tokens for stream in found)
    return figures


async def _read(
    flow: Connection[object], delay: float, tokens: int, per_second: float
) -> list[float]:
    """Return how long each token took, in seconds; none if one was missing or out of order."""
    # Not all at the same time, as people are not.
    await asyncio.sleep(delay / per_second)
    handler, seconds = flow.run(StartEvent(tokens=tokens, per_second=per_second)), []
    async for event in handler.stream_events():
        if isinstance(event, Token):
            seconds.append(time.time() - event.at)
            if event.number != len(seconds) - 1:
                return []
    await handler
    return seconds
