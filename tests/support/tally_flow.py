"""
A workflow whose steps count in one state: `faust -A tally_flow worker`.

With TALLY_GATE the second half of the pages waits until that file is there.
"""

import asyncio
import os
import random
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, Field

from fleet import Context, Event, StartEvent, StopEvent, Workflow, serve, step


class Tally(BaseModel):
    begun: datetime | None = None
    pages: int = 0
    done: int = 0
    #: What each page has seen in its block.
    tickets: dict[str, int] = Field(default_factory=dict)


class Begin(StartEvent):
    pages: int
    #: The last page to count fails.
    fails: bool = False


class Page(Event):
    number: int
    fails: bool
    is_late: bool


class TallyFlow(Workflow[int]):
    @step
    async def begin(self, ctx: Context[Tally], ev: Begin) -> Page | None:
        await ctx.store.set_state(Tally(begun=datetime(2026, 1, 2, tzinfo=UTC), pages=ev.pages))
        for number in range(ev.pages):
            is_late = number >= ev.pages // 2
            ctx.send_event(Page(number=number, fails=ev.fails, is_late=is_late))
        return None

    @step(num_workers=16)
    async def page(self, ctx: Context[Tally], ev: Page) -> StopEvent | None:
        await asyncio.sleep(random.uniform(0, 0.04))
        if ev.is_late:
            await _gate_is_open()
        async with ctx.store.edit_state() as state:
            await asyncio.sleep(random.uniform(0, 0.004))
            state.done += 1
            ticket = state.done
            state.tickets[str(ev.number)] = ticket
            is_last = state.done == state.pages
        await asyncio.sleep(random.uniform(0, 0.04))
        if ev.fails and is_last:
            raise LookupError(ticket)
        return StopEvent(result=ticket) if is_last else None


async def _gate_is_open() -> None:
    gate = os.environ.get("TALLY_GATE")
    while gate and not Path(gate).exists():  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(0.02)


app = serve(TallyFlow)
