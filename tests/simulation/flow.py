"""
The workflow of the histories: fan-out, several steps on one event, context, failures, advice.

Every attempt has a number, and all that it returns carries it. So whatever is visible in the end
tells which attempt it came from.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field, field_validator

from fleet import Context, Event, StartEvent, StopEvent, step
from fleet.workflow.definition import Definition
from simulation.poisoned import Panic, Poisons
from simulation.world import World

if TYPE_CHECKING:
    from simulation.payments import Payments
    from simulation.queued import Places

#: The validator of a part does not return from this number.
POISON = 666


class Order(StartEvent):
    parts: int
    #: Name of the step that fails, if one does.
    fails: str = ""


class Part(Event):
    number: int
    fails: str
    by: int
    #: Attempts that had this copy.
    had_by: list[int] = Field(default_factory=list)

    @field_validator("number")
    @classmethod
    def _is_no_poison(cls, number: int) -> int:
        if number == POISON:
            raise Panic(number)
        return number


class Whole(Event):
    number: int
    fails: str
    by: int


class Advice(Event):
    text: str
    #: 0 for what comes from outside.
    by: int = 0


class Stray(Event):
    """No step takes it."""

    by: int


class Token(Event):
    """What an attempt shows, counted from 0."""

    by: int
    number: int


class Done(StopEvent):
    by: int
    #: The attempt whose context the last step read.
    begun: int
    #: Its callers cannot read it.
    unreadable: bool = False


@dataclass(slots=True)
class Attempt:
    """One execution of a step."""

    number: int
    worker: str
    run_id: str
    step: str
    #: The same for every attempt of this step on this event.
    key: str
    #: The attempts that made its events; none for an event from outside.
    made_by: tuple[int, ...]
    #: Unix seconds.
    began: float


class Try(NamedTuple):
    """An attempt of a step that is tried again or sleeps, as it begins."""

    worker: str
    run_id: str
    #: The same for every attempt of this step on this event.
    key: str
    #: As the step sees it.
    number: int


class Heard(NamedTuple):
    """What a step has got of an event that it waited for."""

    worker: str
    run_id: str
    #: The same for every attempt of this step on this event.
    key: str
    #: Which of its waits.
    wait: str
    #: Empty: none came in time.
    given: str


@dataclass
class Laboratory:
    """Where attempts are counted."""

    world: World
    #: Longest duration of a step, in seconds.
    longest: float
    attempts: list[Attempt] = field(default_factory=list)
    #: How many events each attempt of the steps in SHOWING shows.
    tokens: int = 0
    #: Runs whose callers cannot read the result.
    unreadable: frozenset[str] = frozenset()
    #: Runs of which no step fails any more.
    mended: set[str] = field(default_factory=set)
    #: What failing steps do.
    poisons: Poisons = field(default_factory=lambda: Poisons({}))
    #: Hears of each attempt as it begins.
    on_attempt: Callable[[Attempt], None] = lambda _: None
    #: Edits whose blocks are open, by worker and run.
    inside: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    #: Hears of each edit, with its run and worker, as its block has ended.
    on_edit: Callable[[str, str, str], None] = lambda _run_id, _worker, _name: None
    #: Hears of each attempt of a step that is tried again or sleeps.
    on_try: Callable[[Try], None] = lambda _: None
    #: Hears of each wait of a step that has ended.
    on_heard: Callable[[Heard], None] = lambda _: None
    #: Whether a step sends an event that no step takes.
    strays: bool = False
    #: Hears of each attempt as it begins and as it ends.
    places: "Places | None" = None
    #: Where recorded calls are made; None in histories without any.
    payments: "Payments | None" = None


#: Steps that show what they do.
SHOWING = ("shape", "end")


class SimulatedFlow(Definition, workflow="simulated"):
    """See the module."""

    def __init__(
        self, laboratory: Laboratory, worker: str, compute: Callable[[], None] = lambda: None
    ) -> None:
        self._laboratory = laboratory
        self._worker = worker
        self._compute = compute

    @step
    async def begin(self, ctx: Context, ev: Order) -> Part | None:
        by = await self._work(ctx, "begin", 0, ev.fails)
        await ctx.store.set("begun", by)
        for number in range(ev.parts):
            ctx.send_event(Part(number=number, fails=ev.fails, by=by))
        return None

    @step(num_workers=1)
    async def shape(self, ctx: Context, ev: Part) -> Whole:
        by = await self._work(ctx, "shape", ev.by, ev.fails)
        self._take(ev, by)
        return Whole(number=ev.number, fails=ev.fails, by=by)

    @step
    async def note(self, ctx: Context, ev: Part) -> Advice | None:
        by = await self._work(ctx, "note", ev.by, ev.fails)
        self._take(ev, by)
        if self._laboratory.strays:
            ctx.send_event(Stray(by=by))
        await ctx.store.set(f"noted.{ev.number}", by)
        return Advice(text="noted", by=by) if ev.number else None

    @step
    async def end(self, ctx: Context, ev: Whole) -> Done | None:
        by = await self._work(ctx, "end", ev.by, ev.fails)
        ctx.write_event_to_stream(Advice(text=str(by)))
        if ev.fails == "never" or (ev.number and ev.fails == "nobody"):
            return None
        begun, unreadable = await ctx.store.get("begun"), ctx.run_id in self._laboratory.unreadable
        return Done(by=by, begun=begun, unreadable=unreadable)

    @step
    async def listen(self, ctx: Context, ev: Advice) -> None:
        by = await self._work(ctx, "listen", ev.by, "")
        await ctx.store.set("heard", by)

    def _take(self, part: Part, by: int) -> None:
        """Note in a part who has it: each attempt has a copy of its own."""
        part.had_by.append(by)
        if part.had_by != [by]:
            self._laboratory.world.violate(f"attempts {part.had_by} share one event")

    async def _work(self, ctx: Context, name: str, made_by: int | Sequence[int], fails: str) -> int:
        laboratory = self._laboratory
        world = laboratory.world
        number = len(laboratory.attempts) + 1
        key, given = ctx.idempotency_key, (made_by,) if isinstance(made_by, int) else made_by
        makers = tuple(by for by in given if by)
        attempt = Attempt(number, self._worker, ctx.run_id, name, key, makers, world.now)
        laboratory.attempts.append(attempt)
        world.note(self._worker, f"attempt {number}: {name} of {ctx.run_id}")
        laboratory.on_attempt(attempt)
        if laboratory.places is None:
            return await self._labour(ctx, attempt, fails)
        laboratory.places.enter(attempt)
        try:
            return await self._labour(ctx, attempt, fails)
        finally:
            laboratory.places.leave(attempt)

    async def _labour(self, ctx: Context, attempt: Attempt, fails: str) -> int:
        laboratory, world = self._laboratory, self._laboratory.world
        name, number, key = attempt.step, attempt.number, attempt.key
        self._compute()
        at_once = fails == name and laboratory.poisons.is_at_once(ctx.run_id)
        if not at_once and world.random.random() < 0.8:
            await asyncio.sleep(world.random.uniform(0, laboratory.longest))
        if name in SHOWING:
            await self._show(ctx, number)
        if fails == name and ctx.run_id not in laboratory.mended:
            await laboratory.poisons.strike(ctx.run_id, key, self._worker, number)
        return number

    async def _show(self, ctx: Context, by: int) -> None:
        random = self._laboratory.world.random
        for number in range(self._laboratory.tokens):
            ctx.write_event_to_stream(Token(by=by, number=number))
            if random.random() < 0.6:
                await asyncio.sleep(random.uniform(0, 0.3))
