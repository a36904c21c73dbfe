"""`ctx.memo` in a task: what a function gave, over crashes, resumes and several steps."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr
from task_world import TOPICS, Clock, Gate, World, turns

from fleet import NOT_DONE, Context, Event, StartEvent, StopEvent, step
from fleet.engine import commits
from fleet.engine.transitions.sizes import RecordTooLarge
from fleet.records import state
from fleet.records.lifecycle import Failed, Resumed
from fleet.workflow.definition import Definition
from fleet.workflow.recorded.memo import BadMemo
from fleet.workflow.recorded.values import UnreadableRecord, UnrecordedValue


class Tick(Event):
    number: int = 0


class Report(BaseModel):
    pages: int
    price: Decimal = Decimal("1.50")


@dataclass
class Point:
    x: int


class MemoFlow(Definition, workflow="joke"):
    """Its steps call `ctx.memo` as the test says."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.scope: Any = "step"
        self.calls = 0
        self.got: list[object] = []
        self.fails = False
        self.reconciles: list[object] = []
        self.does: Any = None
        self.errors: list[BaseException] = []

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Tick | None:
        for number in range(ev.get("ticks", 0)):
            ctx.send_event(Tick(number=number))
        if self.does is not None:
            try:
                self.got.append(await self.does(ctx))
            except Exception as error:  # noqa: BLE001 - the test looks at it
                self.errors.append(error)
        return None

    @step(num_workers=8)
    async def tick(self, ctx: Context, ev: Tick) -> StopEvent | None:
        place = f"{ctx.run_id} {ev.number}"

        async def ask() -> int:
            self.calls += 1
            number = self.calls
            await self.gate.at(f"in {place}")
            return number

        self.got.append(await ctx.memo("ask", ask, scope=self.scope))
        await self.gate.at(f"after {place}")
        if self.fails:
            raise LookupError(ev.number)
        return StopEvent(result="done") if ev.number == 7 else None

    @step
    async def pay(self, ctx: Context, ev: StartEvent) -> None:
        if ev.get("pays"):
            paid = await ctx.memo("pay", self._pay, reconcile=self._reconcile)
            self.got.append(paid)

    async def _pay(self) -> str:
        self.calls += 1
        await self.gate.at("pay")
        return f"paid by call {self.calls}"

    async def _reconcile(self) -> Any:
        return self.reconciles.pop(0)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A task that runs."""
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    made = World(Clock(), MemoFlow())
    await made.begin()
    yield made
    for each in made.made:
        await each.close()


async def began(world: World, run_id: str = "r", **fields: Any) -> None:
    world.start(run_id, **fields)
    await world.pump()


async def does(world: World, what: Any) -> Any:
    """Let a step do something with its context, and again after a crash; return what it got."""
    world.flow.does = what
    await began(world, f"run {len(world.transactions)}")
    if world.flow.errors:
        raise world.flow.errors.pop()
    return world.flow.got[-1]


class TestOnce:
    async def test_a_crash_pays_nothing_again(self, world: World) -> None:
        """The next attempt has the value before it would call."""
        await began(world, ticks=1)
        await world.open("in r 0")
        await world.restart()
        assert (world.flow.got, world.flow.calls) == ([1, 1], 1)
        await world.open("after r 0")
        assert world.kept(state.CALL) == []

    async def test_a_resume_pays_nothing_again(self, world: World) -> None:
        """The step failed after its call."""
        world.flow.fails = True
        await began(world, ticks=1)
        await world.open("in r 0")
        await world.open("after r 0")
        assert isinstance(world.end("r"), Failed)
        world.happen(Resumed(), "r", epoch=1)
        await world.pump()
        assert (world.flow.got, world.flow.calls) == ([1, 1], 1)

    async def test_a_fresh_resume_pays_again_what_it_names(self, world: World) -> None:
        """And nothing of another step that had not ended."""
        world.flow.fails = True
        await began(world, ticks=2)
        await world.open("in r 0", "in r 1")
        await world.open("after r 0")
        (failed,) = (end for end in world.happenings("r") if isinstance(end, Failed))
        world.flow.fails = False
        world.happen(Resumed(fresh=((failed.event_id, "tick"),)), "r", epoch=1)
        await world.pump()
        assert (world.flow.got, world.flow.calls) == ([1, 2, 2], 3)
        await world.open("in r 0")
        assert world.flow.got == [1, 2, 2, 3]

    @pytest.mark.parametrize("named", [("failed", "tick"), ("", ""), ("", "tick")], ids=str)
    async def test_a_fresh_resume_keeps_what_steps_share(
        self, world: World, named: tuple[str, str]
    ) -> None:
        """Others have used it; also if the request has gaps where it names a step."""
        world.flow.fails, world.flow.scope = True, "run"
        await began(world, ticks=1)
        await world.open("in r 0")
        await world.open("after r 0")
        (failed,) = (end for end in world.happenings("r") if isinstance(end, Failed))
        event_id = failed.event_id if named[0] else ""
        world.happen(Resumed(fresh=((event_id, named[1]),)), "r", epoch=1)
        await world.pump()
        assert (world.flow.got, world.flow.calls) == ([1, 1], 1)

    async def test_a_call_that_was_not_committed_is_made_again(self, world: World) -> None:
        """Without a reconciler nothing says that it happened."""
        await began(world, ticks=1)
        world.hold = True
        await world.open("in r 0")
        assert world.flow.got == []
        world.hold = False
        await world.restart()
        await world.open("in r 0")
        assert (world.flow.got, world.flow.calls) == ([2], 2)

    async def test_calls_at_once_of_one_key_are_one(self, world: World) -> None:
        """And one after another."""

        async def gathers(ctx: Context) -> list[int]:
            async def ask() -> int:
                world.flow.calls += 1
                await asyncio.sleep(0)
                return int(world.flow.calls)

            both = await asyncio.gather(ctx.memo("a", ask), ctx.memo("a", ask))
            return [*both, await ctx.memo("a", ask), await ctx.memo("b", ask)]

        assert await does(world, gathers) == [1, 1, 1, 2]

    async def test_a_call_that_raises_is_not_recorded(self, world: World) -> None:
        """The next one of the same attempt calls again."""

        async def tries(ctx: Context) -> int:
            def fail() -> int:
                raise LookupError

            with pytest.raises(LookupError):
                await ctx.memo("a", fail)
            return await ctx.memo("a", lambda: 7)

        assert await does(world, tries) == 7

    async def test_steps_of_a_run_share_one(self, world: World) -> None:
        """One calls, whichever attempt asks."""
        world.flow.scope = "run"
        await began(world, ticks=2)
        await world.open("in r 0")
        await world.open("after r 1")
        await world.restart()
        assert world.flow.got == [1, 1, 1]
        assert world.flow.calls == 1


class TestReconcile:
    async def died_in_the_call(self, world: World, *reconciled: object) -> None:
        world.flow.reconciles = list(reconciled)
        await began(world, pays=True)
        await world.restart()

    async def test_what_it_finds_is_the_result(self, world: World) -> None:
        """The call had happened: it is not made again."""
        await self.died_in_the_call(world, "paid before")
        assert (world.flow.got, world.flow.calls) == (["paid before"], 1)
        assert world.kept(state.CALL) == []

    async def test_if_it_did_not_happen_the_call_is_made(self, world: World) -> None:
        """It says so with a value of its own: None may be a result."""
        await self.died_in_the_call(world, NOT_DONE)
        await world.open("pay")
        assert (world.flow.got, world.flow.calls) == (["paid by call 2"], 2)

    async def test_none_is_a_result(self, world: World) -> None:
        """Of a reconciler, too."""
        world.flow._pay = lambda: None
        await began(world, pays=True)
        assert world.flow.got == [None]

    async def test_the_intent_is_committed_before_the_call(self, world: World) -> None:
        """Else nothing would tell the next attempt."""
        world.hold = True
        world.start("r", pays=True)
        world.deliver(TOPICS.event("StartEvent"))
        await turns()
        while "pay" not in world.flow.gate.waiting:
            pending = world.log.pending
            assert pending is not None
            intends = any(key.startswith(state.CALL) for key in pending.changes)
            world.log.decide()
            await turns()
        assert intends
        assert world.flow.calls == 1

    async def test_the_first_attempt_reconciles_nothing(self, world: World) -> None:
        """There is no intent yet."""
        await began(world, pays=True)
        await world.open("pay")
        assert (world.flow.got, world.flow.reconciles) == (["paid by call 1"], [])


class TestValues:
    async def again(self, world: World, fn: Any) -> tuple[Any, Any]:
        """Return what an attempt gets, and what one gets that finds it recorded."""

        async def both(ctx: Context) -> tuple[Any, Any]:
            return await ctx.memo("a", fn), await ctx.memo("a", fn)

        first, second = await does(world, both)
        return first, second

    @pytest.mark.parametrize(
        "value",
        [None, "text", 7, 1.5, [1, {"a": None}], {"b": [True]}, Report(pages=3), Point(4)],
        ids=repr,
    )
    async def test_it_comes_back_equal_and_of_its_type(self, world: World, value: object) -> None:
        """Without an annotation: JSON, and what can be found by its name."""
        got = await self.again(world, lambda: value)
        assert got == (value, value)
        assert [type(one) for one in got] == [type(value)] * 2

    async def test_an_event_does_too(self, world: World) -> None:
        """With its fields."""
        assert await self.again(world, lambda: Tick(number=4)) == (Tick(number=4),) * 2

    async def test_an_annotation_says_the_type(self, world: World) -> None:
        """Of what JSON has not, and of classes inside of functions."""

        class Inner(BaseModel):
            when: set[int]

        async def several() -> list[Inner | Point]:
            return [Inner(when={3}), Point(4)]

        several.__annotations__["return"] = list[Inner | Point]
        assert await self.again(world, several) == ([Inner(when={3}), Point(4)],) * 2

    async def test_each_caller_has_a_copy(self, world: World) -> None:
        """What one does to it, the other does not see."""
        made: list[int] = []
        first, second = await self.again(world, lambda: made)
        first.append(1)
        assert (second, made) == ([], [])

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ((1, 2), "value: a tuple would come back as a list"),
            ({3}, "value: a set would come back as a list"),
            ([Report(pages=1)], r"value\.0: a Report would come back as a dict"),
            (SecretStr("x"), "value: a SecretStr is masked"),
            (..., "value: Unable to serialize unknown type"),
        ],
        ids=repr,
    )
    async def test_another_value_is_refused_with_its_key(
        self, world: World, value: object, reason: str
    ) -> None:
        """Nothing is recorded."""
        with pytest.raises(UnrecordedValue, match=rf"ctx\.memo\('a'\) cannot record .*{reason}"):
            await self.again(world, lambda: value)
        assert world.kept(state.CALL) == []

    async def test_one_that_is_not_as_annotated_is_refused(self, world: World) -> None:
        """It could not be read again."""

        def wrong() -> Report:
            return "no report"  # type: ignore[return-value]  # what the test is about

        with pytest.raises(UnrecordedValue, match="value: Input should be a valid dict"):
            await self.again(world, wrong)

    async def test_one_that_is_too_large_is_refused(self, world: World) -> None:
        """With its key and its size."""
        with pytest.raises(RecordTooLarge, match=r"'memo a' of step begin gave has 1,1"):
            await self.again(world, lambda: "x" * 1_100_000)

    async def test_a_record_of_another_type_is_named(self, world: World) -> None:
        """The code has changed since."""

        async def changes(ctx: Context) -> None:
            await ctx.memo("a", lambda: "text")

            def number() -> int:
                return 7

            await ctx.memo("a", number)

        with pytest.raises(UnreadableRecord, match=r"ctx\.memo\('a'\) cannot be read: value: Inp"):
            await does(world, changes)


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "options", "problem"),
        [
            (("", int), {}, "its key is ''"),
            ((7, int), {}, "its key is 7"),
            (("k" * 2_000, int), {}, "has 2,000 characters"),
            (("a\0b", int), {}, "has a NUL"),
            (("\ud800", int), {}, "a surrogate"),
            (("a", 7), {}, "got int instead of a function"),
            (("a", int), {"scope": "world"}, "its scope is 'world'"),
        ],
        ids=str,
    )
    async def test_arguments_are_checked(
        self, world: World, arguments: Any, options: Any, problem: str
    ) -> None:
        """Before anything is called."""
        with pytest.raises(BadMemo, match=problem):
            await does(world, lambda ctx: ctx.memo(*arguments, **options))

    async def test_a_coroutine_is_no_function(self, world: World) -> None:
        """It would be called although the value is recorded."""
        with pytest.raises(BadMemo, match="give it the function"):
            await does(world, lambda ctx: ctx.memo("a", asyncio.sleep(0)))

    async def test_a_call_inside_of_itself_is_refused(self, world: World) -> None:
        """It would wait for itself."""

        async def nested(ctx: Context) -> int:
            async def inner() -> int:
                return await ctx.memo("a", lambda: 7)

            return await ctx.memo("a", inner)

        with pytest.raises(BadMemo, match="the function of the key 'a' calls it itself"):
            await does(world, nested)

    async def test_another_call_inside_is_none(self, world: World) -> None:
        """Each is recorded."""

        async def nested(ctx: Context) -> int:
            async def inner() -> int:
                return await ctx.memo("b", lambda: 7)

            return await ctx.memo("a", inner)

        assert await does(world, nested) == 7
