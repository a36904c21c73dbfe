"""Answers of a model in a step, over real HTTP: which are paid once, and which are asked again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pytest
from pydantic_core import from_json
from refusing import refuse
from task_world import Clock, Gate, World

from fleet import LLM, Context, StartEvent, StopEvent, step
from fleet.dev.llm import Fault, ScriptedLLM
from fleet.engine import commits
from fleet.llm import recorded
from fleet.llm.client import BadMemoMode
from fleet.records import state
from fleet.records.lifecycle import Completed, Failed, Resumed
from fleet.workflow.definition import Definition
from fleet.workflow.errors import StepTimeoutError


class ModelFlow(Definition, workflow="joke"):
    """Its step asks the model as the test says."""

    def __init__(self, base_url: str) -> None:
        self.gate = Gate()
        self.llm = LLM(base_url=base_url, max_retries=0)
        self.does: Callable[..., Any] = self.one
        #: What the answers were, by attempt.
        self.got: list[list[str]] = []
        #: How often the step refuses what it got.
        self.refuses = 0

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        answers = await self.does(ctx)
        self.got.append([str(answer) for answer in answers])
        if self.refuses:
            self.refuses -= 1
            raise ValueError("an invalid answer")
        return StopEvent(result=len(answers))

    async def one(self, ctx: Context) -> list[Any]:
        return [await self.llm.complete("first")]

    async def two(self, ctx: Context) -> list[Any]:
        return [await self.llm.complete("first"), await self.llm.complete("second")]

    async def at_once(self, ctx: Context) -> list[Any]:
        first = await self.llm.complete("first")
        others = (self.llm.complete(f"at once {number}") for number in range(3))
        return [first, *await asyncio.gather(*others)]

    async def streams(self, ctx: Context) -> list[Any]:
        return [piece async for piece in self.llm.stream("streamed")]


@pytest.fixture
async def server() -> AsyncIterator[ScriptedLLM]:
    """The model."""
    async with ScriptedLLM() as scripted:
        yield scripted


@pytest.fixture
async def world(server: ScriptedLLM, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A task that runs."""
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    made = World(Clock(), ModelFlow(server.base_url))
    await made.begin()
    yield made
    for each in made.made:
        await each.close()
    await made.flow.llm.aclose()


def asked(server: ScriptedLLM) -> dict[str, int]:
    """Return how often each prompt was asked."""
    return {count.prompt: count.started for count in server.counts.prompts.values()}


async def ended(world: World, epoch: int = 0) -> Any:
    """Return how the run has ended."""
    async with asyncio.timeout(20):
        while len(ends := [one for one in world.happenings("r") if one.terminal]) <= epoch:
            await asyncio.sleep(0.01)
            await world.pump()
    return ends[epoch]


async def arrived(world: World, place: str) -> None:
    """Return when a step waits at *place*."""
    async with asyncio.timeout(20):
        while place not in world.flow.gate.waiting:  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0.01)


async def run(world: World, does: Callable[..., Any]) -> Any:
    """Run a step that does so; return how the run has ended."""
    world.flow.does = does
    world.start("r")
    await world.pump()
    return await ended(world)


async def resumed(world: World, epoch: int = 1) -> Any:
    """Resume the run; return how it has ended."""
    world.happen(Resumed(), "r", epoch=epoch, event_id=f"request {epoch}")
    await world.pump()
    return await ended(world, epoch)


class TestKept:
    async def test_a_crash_pays_no_answer_again(self, world: World, server: ScriptedLLM) -> None:
        """Not even of a step that was in the middle of its calls."""

        async def dies(ctx: Context) -> list[Any]:
            first = await world.flow.llm.complete("first")
            await world.flow.gate.at("between")
            return [first, await world.flow.llm.complete("second")]

        world.flow.does = dies
        world.start("r")
        await world.pump()
        for _ in range(2):
            await arrived(world, "between")
            await world.crash()
            await world.begin()
            await world.pump()
        await world.open("between")
        assert isinstance(await ended(world), Completed)
        assert asked(server) == {"first": 1, "second": 1}
        assert world.kept(state.CALL) == []

    async def test_after_a_call_that_failed_the_others_are_kept(
        self, world: World, server: ScriptedLLM
    ) -> None:
        """Only the failed one is asked again."""
        server.script.change({"faults": [Fault(kind="429", next=1, containing="second")]})
        end = await run(world, world.flow.two)
        assert isinstance(end, Failed)
        assert end.failure.type == openai.RateLimitError.__name__
        assert isinstance(await resumed(world), Completed)
        assert asked(server) == {"first": 1, "second": 2}

    @pytest.mark.parametrize("grouped", [False, True], ids=["the error", "a group"])
    async def test_of_calls_at_the_same_time_one_that_failed_is_asked_again(
        self, world: World, server: ScriptedLLM, grouped: bool
    ) -> None:
        """The step did not refuse the answers of the others."""

        async def gathers(ctx: Context) -> list[Any]:
            calls = (world.flow.llm.complete(f"at once {number}") for number in range(3))
            answers = await asyncio.gather(*calls, return_exceptions=True)
            errors = [answer for answer in answers if isinstance(answer, Exception)]
            if errors:
                raise ExceptionGroup("calls", errors) if grouped else errors[0]
            return answers

        server.script.change({"faults": [Fault(kind="500", next=1, containing="once 1")]})
        await run(world, gathers)
        assert isinstance(await resumed(world), Completed)
        assert asked(server) == {"at once 0": 1, "at once 1": 2, "at once 2": 1}

    async def test_a_step_that_took_too_long_keeps_its_answers(
        self, world: World, server: ScriptedLLM
    ) -> None:
        """It did not refuse any."""

        async def takes_long(ctx: Context) -> list[Any]:
            answer = await world.flow.llm.complete("first")
            if not world.flow.got:
                world.flow.got.append([])
                raise StepTimeoutError("ask", 1)
            return [answer]

        await run(world, takes_long)
        assert isinstance(await resumed(world), Completed)
        assert asked(server) == {"first": 1}

    async def test_an_error_of_your_own_around_it_is_the_same(
        self, world: World, server: ScriptedLLM
    ) -> None:
        """As long as it comes of the call's."""

        async def wraps(ctx: Context) -> list[Any]:
            try:
                return list(await world.flow.two(ctx))
            except openai.APIError as error:
                raise LookupError("no second") from error

        server.script.change({"faults": [Fault(kind="500", next=1, containing="second")]})
        await run(world, wraps)
        assert isinstance(await resumed(world), Completed)
        assert asked(server) == {"first": 1, "second": 2}

    async def test_the_same_request_twice_is_two(self, world: World, server: ScriptedLLM) -> None:
        """The n-th has the n-th answer, in the next attempt, too."""

        async def repeats(ctx: Context) -> list[Any]:
            several = [await world.flow.llm.complete("first") for _ in range(3)]
            if not world.flow.got:
                world.flow.got.append([])
                await world.flow.llm.complete("fails")
            return several

        server.script.change({"faults": [Fault(kind="500", containing="fails")]})
        await run(world, repeats)
        assert isinstance(await resumed(world), Completed)
        assert asked(server) == {"first": 3, "fails": 1}

    async def test_a_stream_comes_again_from_its_record(
        self, world: World, server: ScriptedLLM
    ) -> None:
        """With the same pieces."""

        async def streams(ctx: Context) -> list[Any]:
            pieces = await world.flow.streams(ctx)
            if not world.flow.got:
                world.flow.got.append(pieces)
                await world.flow.llm.complete("fails")
            return list(pieces)

        server.script.change({"faults": [Fault(kind="500", containing="fails")]})
        await run(world, streams)
        assert isinstance(await resumed(world), Completed)
        assert asked(server) == {"streamed": 1, "fails": 1}
        first, second = world.flow.got
        assert first == second
        assert len(first) > 3

    async def test_a_stream_that_is_left_early_is_not_recorded(
        self, world: World, server: ScriptedLLM
    ) -> None:
        """Its end is not known."""

        async def leaves(ctx: Context) -> list[Any]:
            async for piece in world.flow.llm.stream("streamed"):
                return [piece]
            return []

        assert isinstance(await run(world, leaves), Completed)
        assert world.kept(state.CALL) == []


class TestAskedAgain:
    async def test_a_step_that_refuses_its_last_answer_gets_another(
        self, world: World, server: ScriptedLLM
    ) -> None:
        """An invalid answer first, a valid one in the second attempt; the earlier one is kept."""
        world.flow.refuses = 1
        assert isinstance(await run(world, world.flow.two), Failed)
        assert isinstance(await resumed(world), Completed)
        assert asked(server) == {"first": 1, "second": 2}

    async def test_and_so_does_one_that_found_it_recorded(
        self, world: World, server: ScriptedLLM
    ) -> None:
        """As often as it refuses."""
        world.flow.refuses = 2
        await run(world, world.flow.two)
        await resumed(world)
        assert isinstance(await resumed(world, 2), Completed)
        assert asked(server) == {"first": 1, "second": 3}

    async def test_calls_at_the_same_time_are_asked_again_together(
        self, world: World, server: ScriptedLLM
    ) -> None:
        """Any of them may have had the answer."""
        world.flow.refuses = 1
        await run(world, world.flow.at_once)
        assert isinstance(await resumed(world), Completed)
        expected = {"first": 1} | {f"at once {number}": 2 for number in range(3)}
        assert asked(server) == expected

    async def test_also_if_all_of_them_are_recorded(
        self, world: World, server: ScriptedLLM
    ) -> None:
        """A worker died in between: the records are read at the same time, too."""
        died = False

        async def dies(ctx: Context) -> list[Any]:
            nonlocal died
            answers = await world.flow.at_once(ctx)
            if not died:
                died = True
                await world.flow.gate.at("dies")
            return list(answers)

        world.flow.refuses, world.flow.does = 1, dies
        world.start("r")
        await world.pump()
        await arrived(world, "dies")
        await world.restart()
        assert isinstance(await ended(world), Failed)
        assert isinstance(await resumed(world), Completed)
        expected = {"first": 1} | {f"at once {number}": 2 for number in range(3)}
        assert asked(server) == expected

    async def test_a_failed_call_before_the_last_one_does_not_count(
        self, world: World, server: ScriptedLLM
    ) -> None:
        """The step had another way, and refuses what that gave."""

        async def falls_back(ctx: Context) -> list[Any]:
            try:
                return [await world.flow.llm.complete("fails")]
            except openai.APIError:
                answer = await world.flow.llm.complete("second")
                if world.flow.refuses:
                    world.flow.refuses -= 1
                    raise ValueError(str(answer)) from None
                return [answer]

        server.script.change({"faults": [Fault(kind="500", containing="fails")]})
        world.flow.refuses = 1
        await run(world, falls_back)
        assert isinstance(await resumed(world), Completed)
        assert asked(server) == {"fails": 2, "second": 2}


def set_aside(world: World) -> list[bytes]:
    """Return the answers that steps have refused."""
    return [world.state[key] for key in world.kept(state.CALL) if state.is_set_aside(key)]


class TestSetAside:
    """An answer that a step has refused may be why it failed: an export has it."""

    async def test_it_is_kept_until_the_step_has_its_result(self, world: World) -> None:
        """A resume does not read it."""
        world.flow.refuses = 1
        await run(world, world.flow.two)
        (kept,) = set_aside(world)
        assert from_json(kept)["text"] == world.flow.got[0][1]
        assert len(world.kept(state.CALL)) == 2
        assert isinstance(await resumed(world), Completed)
        assert world.kept(state.CALL) == []

    async def test_the_next_refusal_takes_its_place(self, world: World) -> None:
        """Also one of other calls: what is there is of one attempt."""
        world.flow.refuses = 2
        await run(world, world.flow.two)
        (first,) = set_aside(world)
        world.flow.does = world.flow.one
        await resumed(world)
        (second,) = set_aside(world)
        assert first != second
        assert from_json(second)["text"] == world.flow.got[1][0]

    async def test_an_order_to_call_again_drops_it(self, world: World) -> None:
        """With everything that the step has paid for."""
        world.flow.refuses = 1
        await run(world, world.flow.two)
        fresh = (("start r", "ask"),)
        world.flow.does = world.flow.streams
        world.flow.refuses = 0
        world.happen(Resumed(fresh=fresh), "r", epoch=1, event_id="request 1")
        await world.pump()
        assert set_aside(world) == []
        assert isinstance(await ended(world, 1), Completed)

    async def test_a_broker_that_refuses_it_stops_nothing(self, world: World) -> None:
        """Nothing but an export needs it."""
        refuse(world, lambda record: state.is_set_aside(record.key))
        world.flow.refuses = 1
        assert isinstance(await run(world, world.flow.two), Failed)
        assert set_aside(world) == []
        assert world.lost == []


class TestModes:
    async def test_always_keeps_the_last_answer(self, world: World, server: ScriptedLLM) -> None:
        """Whatever the step made of it."""
        world.flow.llm = LLM(base_url=server.base_url, memo="always")
        world.flow.refuses = 1
        await run(world, world.flow.two)
        assert isinstance(await resumed(world), Completed)
        assert asked(server) == {"first": 1, "second": 1}

    async def test_off_keeps_nothing(self, world: World, server: ScriptedLLM) -> None:
        """Each attempt asks."""
        world.flow.llm = LLM(base_url=server.base_url, memo="off")
        world.flow.refuses = 1
        await run(world, world.flow.two)
        assert isinstance(await resumed(world), Completed)
        assert asked(server) == {"first": 2, "second": 2}

    def test_another_word_is_refused(self) -> None:
        """When the LLM is made."""
        with pytest.raises(BadMemoMode, match='"auto", "always" or "off"'):
            LLM(memo="never")  # type: ignore[arg-type]  # what the test is about

    async def test_a_call_after_its_step_is_only_a_call(
        self, world: World, server: ScriptedLLM
    ) -> None:
        """Its task was left behind; nothing is recorded, and nothing raises."""
        strays: list[asyncio.Task[Any]] = []

        async def leaves(ctx: Context) -> list[Any]:
            async def stray() -> Any:
                await world.flow.gate.at("stray")
                return await world.flow.llm.complete("late")

            strays.append(asyncio.create_task(stray()))
            await asyncio.sleep(0)
            return []

        assert isinstance(await run(world, leaves), Completed)
        world.flow.gate.open("stray")
        assert "late" in str(await strays[0]) or asked(server) == {"late": 1}
        assert world.kept(state.CALL) == []

    async def test_a_call_that_ends_after_its_step_gives_its_answer(
        self, world: World, server: ScriptedLLM
    ) -> None:
        """It was under way when the step ended."""
        strays: list[asyncio.Task[Any]] = []
        server.script.change({"latency_seconds": 0.2})

        async def leaves(ctx: Context) -> list[Any]:
            strays.append(asyncio.create_task(world.flow.llm.complete("late")))
            async with asyncio.timeout(20):
                while not server.counts.in_flight:  # noqa: ASYNC110 - it is no event
                    await asyncio.sleep(0.01)
            return []

        assert isinstance(await run(world, leaves), Completed)
        assert str(await strays[0])
        assert world.kept(state.CALL) == []

    async def test_an_answer_that_no_record_holds_is_no_error(
        self, world: World, server: ScriptedLLM
    ) -> None:
        """It is paid for, and given."""

        async def is_large(ctx: Context) -> list[Any]:
            place = recorded.place("auto", "complete", {"prompt": "long"})
            await place.keep("x" * 1_100_000)
            return [await place.read()]

        assert isinstance(await run(world, is_large), Completed)
        assert world.flow.got == [["None"]]

    async def test_options_of_how_to_ask_make_no_other_request(
        self, world: World, server: ScriptedLLM
    ) -> None:
        """A time limit that changed between two attempts pays nothing again; a model does."""

        async def changes(ctx: Context) -> list[Any]:
            attempt = len(world.flow.got) + 1
            await world.flow.llm.complete("first", timeout=10 + attempt)
            await world.flow.llm.complete("second", model=f"model {attempt}")
            if attempt == 1:
                world.flow.got.append([])
                await world.flow.llm.complete("fails")
            return []

        server.script.change({"faults": [Fault(kind="500", containing="fails")]})
        await run(world, changes)
        assert isinstance(await resumed(world), Completed)
        assert asked(server) == {"first": 1, "second": 2, "fails": 1}
