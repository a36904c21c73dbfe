"""
A workflow that fans out: `faust -A spread_flow worker`.

SPREAD_FIX names a file; while it is missing, the parts that the start names fail, and so does the
join if the start says so. SPREAD_PAID names a file that gets a line for each step that has done
its work. If they are not set, as for a caller, nothing is wrong and nothing is written. A part that
is slow waits for longer than any test; one that is alone ends the run.
"""

import asyncio
import os
from pathlib import Path

from fleet import Context, Event, StartEvent, StopEvent, Workflow, serve, step

FIX = os.environ.get("SPREAD_FIX")
PAID = os.environ.get("SPREAD_PAID")

SLOW_SECONDS = 600.0


def check(*, fails: bool) -> None:
    if fails and FIX is not None and not Path(FIX).exists():
        raise LookupError("not repaired yet")


def pay(what: str) -> None:
    if PAID is not None:
        with Path(PAID).open("a") as paid:
            paid.write(f"{what}\n")


class Split(StartEvent):
    parts: int
    failing: tuple[int, ...] = ()
    join_fails: bool = False
    slow: tuple[int, ...] = ()
    alone: tuple[int, ...] = ()


class Part(Event):
    n: int
    fails: bool
    join_fails: bool
    slow: bool
    alone: bool


class Done(Event):
    n: int
    join_fails: bool


class Joined(StopEvent):
    parts: list[int]


class SpreadFlow(Workflow, workflow="spread"):
    @step
    async def split(self, ev: Split) -> list[Part]:
        return [
            Part(
                n=n,
                fails=n in ev.failing,
                join_fails=ev.join_fails,
                slow=n in ev.slow,
                alone=n in ev.alone,
            )
            for n in range(ev.parts)
        ]

    @step
    async def work(self, ctx: Context, ev: Part) -> Done | Joined:
        check(fails=ev.fails)
        if ev.slow:
            await ctx.write_event_to_stream(ev)
            await asyncio.sleep(SLOW_SECONDS)
        pay(f"work {ev.n}")
        if ev.alone:
            return Joined(parts=[ev.n])
        return Done(n=ev.n, join_fails=ev.join_fails)

    @step
    async def join(self, parts: list[Done]) -> Joined:
        check(fails=any(part.join_fails for part in parts))
        pay("join")
        return Joined(parts=sorted(part.n for part in parts))


app = serve(SpreadFlow)
