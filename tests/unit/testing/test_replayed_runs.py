"""A run that failed runs again in memory: from its export, without a broker and a paid call."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, ClassVar

import openai
import pytest
import tenacity
from exporting import exported
from task_world import Clock, World

from fleet import LLM, Context, Event, StartEvent, StopEvent, Workflow, retry_policy, step
from fleet.config.recorded_only import NoRecordedAnswer
from fleet.dev.llm import Fault, ScriptedLLM
from fleet.engine import commits
from fleet.llm.recorded import Memo
from fleet.records.exported.run_export import NotAnExport, RunExport
from fleet.records.exported.workflow_class import UnknownWorkflowClass
from fleet.records.lifecycle import Completed, Failed
from fleet.testing import replay
from fleet.testing.replaying import ReplayOutsideLoop
from fleet.testing.run_state import NotReplayable


class Draft(Event):
    text: str


class Mark(Event):
    number: int


class ReportFlow(Workflow, workflow="joke"):
    """It writes a draft, and then refuses what the model says about it."""

    llm = LLM(max_retries=0)
    #: What its steps did in this process.
    did: ClassVar[list[str]] = []
    #: Whether its code was mended.
    mended = False

    @step
    async def write(self, ctx: Context, ev: StartEvent) -> Draft:
        self.did.append("write")
        await ctx.store.set("topic", ev.get("topic"))
        return Draft(text=str(await self.llm.complete(f"write about {ev.get('topic')}")))

    @step
    async def judge(self, ctx: Context, ev: Draft) -> StopEvent:
        self.did.append("judge")
        topic = await ctx.store.get("topic")
        price = await ctx.memo("price", self._price)
        verdict = str(await self.llm.complete(f"judge {topic}"))
        if not self.mended:
            raise ValueError(f"{price} for {verdict[-10:]!r}")
        return StopEvent(result=[price, verdict[-10:], topic])

    async def _price(self) -> int:
        self.did.append("price")
        return 7


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScriptedLLM]:
    """The model."""
    async with ScriptedLLM() as scripted:
        monkeypatch.setenv("OPENAI_BASE_URL", scripted.base_url)
        yield scripted


@pytest.fixture
async def world(server: ScriptedLLM, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A task that runs, where the run has failed."""
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    made = await begun(ReportFlow())
    yield made
    for each in made.made:
        await each.close()


async def begun(flow: Workflow) -> World:
    """Return a world that runs *flow*."""
    world = World(Clock(), flow)
    await world.begin()
    return world


async def ended(world: World) -> Any:
    """Start the run; return how it has ended."""
    world.start("r", topic="cats")
    async with asyncio.timeout(20):
        while not (ends := [one for one in world.happenings("r") if one.terminal]):
            await world.pump()
            await asyncio.sleep(0.01)
    await world.pump()
    return ends[0]


def asked(server: ScriptedLLM) -> int:
    """Return how often the model was asked."""
    return sum(count.started for count in server.counts.prompts.values())


async def test_what_failed_fails_the_same_way(world: World, server: ScriptedLLM) -> None:
    """As often as you like, also without a model, and the step before does not run."""
    end = await ended(world)
    assert isinstance(end, Failed)
    run, paid = exported(world), asked(server)
    ReportFlow.did.clear()
    for _ in range(2):
        with pytest.raises(ValueError, match="7 for ") as raised:
            await replay(run)
        assert str(raised.value) == end.failure.message
    assert ReportFlow.did == ["judge", "judge"]
    assert asked(server) == paid


async def test_mended_code_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the context and the answers of the run."""
    await ended(world)
    monkeypatch.setattr(ReportFlow, "mended", True)
    price, _, topic = await replay(exported(world))
    assert (price, topic) == (7, "cats")


async def test_a_call_without_an_answer_is_not_made(
    world: World, server: ScriptedLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names it; only with *live* it is made."""

    class Curious(ReportFlow, workflow="joke"):
        @step
        async def judge(self, ctx: Context, ev: Draft) -> StopEvent:
            return StopEvent(result=str(await self.llm.complete("something else")))

    await ended(world)
    run, paid = exported(world), asked(server)
    with pytest.raises(NoRecordedAnswer, match="the prompt 'something else'"):
        await replay(run, Curious)
    assert asked(server) == paid
    assert "something else" in await replay(run, Curious(), live=True)
    assert asked(server) == paid + 1


@pytest.mark.parametrize("way", ["memo", "off", "client"])
async def test_no_way_around_it(world: World, server: ScriptedLLM, way: str) -> None:
    """Neither `ctx.memo`, nor a model without records, nor the openai client."""

    class Cunning(ReportFlow, workflow="joke"):
        llm = LLM(memo="off")

        @step
        async def judge(self, ctx: Context, ev: Draft) -> StopEvent:
            match way:
                case "memo":
                    await ctx.memo("another", self._price)
                case "off":
                    await self.llm.complete("paid")
                case "client":
                    await self.llm.client.models.list()
            return StopEvent()

    await ended(world)
    paid = asked(server)
    ReportFlow.did.clear()
    with pytest.raises(NoRecordedAnswer):
        await replay(exported(world), Cunning)
    assert (asked(server), ReportFlow.did) == (paid, [])


@pytest.mark.parametrize("memo", ["auto", "always"])
async def test_a_model_that_failed_fails_again(
    world: World, server: ScriptedLLM, monkeypatch: pytest.MonkeyPatch, memo: Memo
) -> None:
    """Without a call, with an error of its type, at which a step may look; *live* calls it."""
    monkeypatch.setattr(ReportFlow, "llm", LLM(max_retries=0, memo=memo))
    server.script.change({"faults": [Fault(kind="500", containing="judge")]})
    end = await ended(world)
    assert end.failure.type == "InternalServerError"
    server.script.change({"faults": []})
    run, paid = exported(world), asked(server)
    with pytest.raises(openai.InternalServerError) as raised:
        await replay(run)
    assert (str(raised.value), asked(server)) == (end.failure.message, paid)
    with pytest.raises(ValueError, match="7 for "):
        await replay(run, live=True)
    assert asked(server) == paid + 1


class CarefulFlow(Workflow, workflow="joke"):
    """Its step goes on without what has failed, tries a call again, and fails of its own."""

    calls: ClassVar[list[str]] = []

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        for _ in range(2):
            with suppress(ConnectionError):
                await ctx.memo("again", self._again)
        try:
            await ctx.memo("gone", self._gone)
        except LookupError as failure:
            raise ValueError(f"without {failure}") from None
        return StopEvent()

    async def _again(self) -> int:
        self.calls.append("again")
        if len(self.calls) == 1:
            raise ConnectionError
        return 1

    async def _gone(self) -> int:
        self.calls.append("gone")
        raise LookupError("it")


async def test_calls_fail_again_that_a_step_has_caught(world: World) -> None:
    """What a later call of the key gave counts."""
    careful = await begun(CarefulFlow())
    world.made += careful.made
    await ended(careful)
    assert CarefulFlow.calls == ["again", "again", "gone"]
    with pytest.raises(ValueError, match="without it"):
        await replay(exported(careful))
    assert CarefulFlow.calls == ["again", "again", "gone"]


class RetriedFlow(Workflow, workflow="joke"):
    """It gives up after three attempts."""

    attempts: ClassVar[list[int]] = []

    @step(
        retry_policy=retry_policy(wait=tenacity.wait_fixed(0), stop=tenacity.stop_after_attempt(3))
    )
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.attempts.append(ctx.retry_info().retry_number)
        raise LookupError(ev.get("topic"))


async def test_a_retry_policy_gives_up_again(world: World) -> None:
    """The attempt is the one that failed last, and the only one."""
    retried = await begun(RetriedFlow())
    world.made += retried.made
    retried.clock.ms += 1
    await ended(retried)
    before = list(RetriedFlow.attempts)
    RetriedFlow.attempts.clear()
    with pytest.raises(LookupError, match="cats"):
        await replay(exported(retried))
    assert before == [0, 1, 2]
    assert RetriedFlow.attempts == [2]


class TestOneStep:
    async def test_of_a_completed_run(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """On its event, with the run's last context; the recorded answers are gone."""
        monkeypatch.setattr(ReportFlow, "mended", True)
        assert isinstance(await ended(world), Completed)
        run = exported(world)
        assert "its state was removed" in " ".join(run.missing)
        with pytest.raises(NotReplayable, match="name a step"):
            replay(run)
        ReportFlow.did.clear()
        _, _, topic = await replay(run, step="judge", live=True)
        assert topic == "cats"
        assert ReportFlow.did == ["judge", "price"]

    async def test_that_is_not_there(self, world: World) -> None:
        """A sentence."""
        await ended(world)
        with pytest.raises(NotReplayable, match="no step 'jugde'"):
            replay(exported(world), step="jugde")


class TestRefused:
    async def test_a_file_that_is_none(self, tmp_path: Any) -> None:
        """The error says how to write one."""
        path = tmp_path / "run.json"
        path.write_text('{"a": 1}')
        with pytest.raises(NotAnExport, match="fleet runs export"):
            replay(path)
        with pytest.raises(NotAnExport, match="format 1, and it has 9"):
            replay({"fleet_run_export": 9})

    async def test_a_class_that_cannot_be_made(self, world: World) -> None:
        """Pass an object."""
        await ended(world)
        run = exported(world).model_copy(update={"workflow_class": "nowhere:Flow"})
        with pytest.raises(UnknownWorkflowClass, match="nowhere:Flow"):
            replay(run)

    def test_without_a_loop(self) -> None:
        """It says what to write."""
        with pytest.raises(ReplayOutsideLoop, match="await replay"):
            replay("run.json")


async def test_a_file_has_it_all(world: World, tmp_path: Any) -> None:
    """What was written is read again, byte for byte, and people can read it, too."""
    await ended(world)
    run, path = exported(world), tmp_path / "run.json"
    path.write_text(run.to_json())
    assert RunExport.of(path) == run
    assert '"topic": "cats"' in path.read_text()
    with pytest.raises(ValueError, match="7 for "):
        await replay(str(path))
