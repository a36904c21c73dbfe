"""What the steps of a run share."""

import asyncio
from typing import Any

from pydantic import BaseModel, Field

from behaviour import gates
from fleet import Context, Event, StartEvent, StopEvent, Workflow, step


class Note(Event):
    """What a step says that it did."""

    text: str


class Next(Event):
    n: int = 0


class Done(Event):
    pass


class Person(BaseModel):
    name: str = "Jane"
    age: int = 25


class Town(BaseModel):
    name: str = "Ulm"
    mayor: Person = Field(default_factory=Person)
    people: list[str] = []


class BaseState(BaseModel):
    common: str = "base"


class WiderState(BaseState):
    own: int = 1


class Keeps(Workflow):
    """Sets values that a later step reads, by path."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Next:
        await ctx.store.set("plain", 1)
        await ctx.store.set("town.mayor.name", "Ann")
        await ctx.store.set("town.people", ["Bo", {"name": "Cy"}])
        return Next()

    @step
    async def end(self, ctx: Context, ev: Next) -> StopEvent:
        paths = ["plain", "town.mayor.name", "town.mayor", "town.people.0", "town.people.1.name"]
        return StopEvent(result=[await ctx.store.get(path) for path in paths])


class Misses(Workflow):
    """Asks for what is not there, with and without a default."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await ctx.store.set("town", {"name": "Ulm"})
        found: list[Any] = [
            await ctx.store.get("none", default=7),
            await ctx.store.get("town.none", default=None),
        ]
        for path in ("none", "town.none"):
            try:
                await ctx.store.get(path)
            except ValueError as missing:
                found.append(path in str(missing))
        return StopEvent(result=found)


class FailsOnMissing(Workflow):
    """Does not catch what it misses."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await ctx.store.get("none"))


class Clears(Workflow):
    """Clears what it has."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Next:
        await ctx.store.set("a", 1)
        await ctx.store.set("b.c", 2)
        await ctx.store.clear()
        await ctx.store.set("d", 3)
        return Next()

    @step
    async def end(self, ctx: Context, ev: Next) -> StopEvent:
        found = [await ctx.store.get(path, default=None) for path in ("a", "b.c", "b", "d")]
        return StopEvent(result=found)


class Typed(Workflow):
    """Has a state with types and defaults."""

    @step
    async def begin(self, ctx: Context[Town], ev: StartEvent) -> Next:
        state = await ctx.store.get_state()
        ctx.write_event_to_stream(Note(text=f"{state.name} {state.mayor.age} {state.people}"))
        await ctx.store.set("mayor.name", "Ann")
        state = await ctx.store.get_state()
        state.mayor.age += 1
        await ctx.store.set_state(state)
        return Next()

    @step
    async def end(self, ctx: Context[Town], ev: Next) -> StopEvent:
        state = await ctx.store.get_state()
        name = await ctx.store.get("mayor.name")
        return StopEvent(result=[type(state).__name__, name, state.mayor.age, state.people])


class TypedClears(Workflow):
    """Clears a state with defaults."""

    @step
    async def begin(self, ctx: Context[Person], ev: StartEvent) -> Next:
        await ctx.store.set("age", 30)
        await ctx.store.clear()
        return Next()

    @step
    async def end(self, ctx: Context[Person], ev: Next) -> StopEvent:
        state = await ctx.store.get_state()
        return StopEvent(result=[state.name, state.age])


class Edits(Workflow):
    """Ten attempts edit the state at once, each for a while."""

    @step
    async def begin(self, ctx: Context[Person], ev: StartEvent) -> Next | None:
        async with ctx.store.edit_state() as state:
            state.age = 0
        for n in range(10):
            ctx.send_event(Next(n=n))
        return None

    @step(num_workers=10)
    async def edit(self, ctx: Context[Person], ev: Next) -> Done:
        async with ctx.store.edit_state() as state:
            before = state.age
            await asyncio.sleep(0.001)
            state.age = before + 1
        return Done()

    @step
    async def end(self, ctx: Context[Person], ev: Done) -> StopEvent | None:
        if ctx.collect_events(ev, [Done] * 10) is None:
            return None
        return StopEvent(result=(await ctx.store.get_state()).age)


class EditsUntyped(Workflow):
    """Edits a state without a model, as an object and as a dict."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Next:
        async with ctx.store.edit_state() as state:
            state.count = 1
            state["items"] = ["a"]
        async with ctx.store.edit_state() as state:
            state.count += 1
            state["items"].append("b")
        return Next()

    @step
    async def end(self, ctx: Context, ev: Next) -> StopEvent:
        return StopEvent(result=[await ctx.store.get("count"), await ctx.store.get("items")])


class Inherits(Workflow):
    """One step asks for a wider model than the others."""

    @step
    async def begin(self, ctx: Context[BaseState], ev: StartEvent) -> Next:
        await ctx.store.set("common", "changed")
        return Next()

    @step
    async def end(self, ctx: Context[WiderState], ev: Next) -> StopEvent:
        state = await ctx.store.get_state()
        return StopEvent(result=[type(state).__name__, state.common, state.own])


class FailsInAnEdit(Workflow):
    """Raises in an edit, and goes on: what it edited is as it was."""

    @step
    async def begin(self, ctx: Context[Person], ev: StartEvent) -> Next:
        try:
            async with ctx.store.edit_state() as state:
                state.age = 99
                raise LookupError("no birthday")  # noqa: TRY301 - in the edit
        except LookupError:
            ctx.write_event_to_stream(Note(text="caught"))
        return Next()

    @step
    async def end(self, ctx: Context[Person], ev: Next) -> StopEvent:
        return StopEvent(result=(await ctx.store.get_state()).age)


class KeepsWhatItGot(Workflow):
    """Changes values that it got from the store, and does not set them again."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Next:
        await ctx.store.set("list", [1])
        (await ctx.store.get("list")).append(2)
        return Next()

    @step
    async def end(self, ctx: Context, ev: Next) -> StopEvent:
        return StopEvent(result=await ctx.store.get("list"))


class Counts(Workflow):
    """Counts in its own state."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        count = await ctx.store.get("count", default=0) + 1
        await ctx.store.set("count", count)
        return StopEvent(result=count)


class Waits(Workflow):
    """Is at work until its caller lets it go on."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Next:
        await ctx.store.set("begun", 1)
        await ctx.store.set("key", ev.key)
        return Next()

    @step
    async def work(self, ctx: Context, ev: Next) -> StopEvent:
        ctx.write_event_to_stream(Note(text="at work"))
        await gates.at_gate(await ctx.store.get("key"))
        return StopEvent(result="done")
