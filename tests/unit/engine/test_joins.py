"""Fan-outs and joins of a task: each join fires once, with all that is meant for it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from task_world import TOPICS, Clock, Gate, Log, World, turns

from fleet import Collect, Context, Event, StartEvent, StopEvent, Take, step
from fleet.engine import commits, retention, task
from fleet.engine.log import Receipt, RecordsRefused
from fleet.records import state
from fleet.records.lifecycle import Completed, Failed, Resumed
from fleet.records.log import Outgoing
from fleet.workflow.definition import Definition


class Part(Event):
    n: int


class Done(Event):
    n: int


class Pair(Event):
    n: int


class Flow(Definition):
    """A flow whose steps wait at a gate."""

    def __init__(self) -> None:
        self.gate = Gate()
        #: Parts whose step fails.
        self.failing: set[int] = set()


class Spread(Flow):
    """Parts are worked on apart, and joined."""

    @step
    async def split(self, ev: StartEvent) -> list[Part]:
        return [Part(n=n) for n in range(ev.get("parts", 3))]

    @step
    async def work(self, ev: Part) -> Done | None:
        await self.gate.at(f"work {ev.n}")
        if ev.n in self.failing:
            raise LookupError(str(ev.n))
        return None if ev.n == 9 else Done(n=ev.n)

    @step
    async def join(self, parts: list[Done]) -> StopEvent:
        await self.gate.at("join")
        if -1 in self.failing:
            raise LookupError("join")
        return StopEvent(result=[part.n for part in parts])


class Sending(Flow):
    """A step sends to the join of a list."""

    @step
    async def split(self, ev: StartEvent) -> list[Part]:
        return [Part(n=1)]

    @step
    async def work(self, ctx: Context, ev: Part) -> Done | None:
        ctx.send_event(Done(n=1))
        ctx.send_event(Done(n=2), step="join")
        return None

    @step
    async def join(self, parts: list[Done]) -> StopEvent:
        return StopEvent(result=len(parts))


class First(Flow):
    """The two parts that are done first are the result's."""

    @step
    async def split(self, ev: StartEvent) -> list[Part]:
        return [Part(n=n) for n in range(ev.get("parts", 4))]

    @step
    async def work(self, ev: Part) -> Done:
        await self.gate.at(f"work {ev.n}")
        return Done(n=ev.n)

    @step
    async def join(self, parts: Annotated[list[Done], Collect(Take(2))]) -> Pair:
        return Pair(n=sum(part.n for part in parts))

    @step
    async def close(self, ev: Pair) -> StopEvent:
        await self.gate.at("close")
        return StopEvent(result=ev.n)


class Inner(Flow):
    """Each part is a list of its own."""

    @step
    async def split(self, ev: StartEvent) -> list[Part]:
        return [Part(n=n) for n in range(3)]

    @step
    async def spread(self, ev: Part) -> list[Pair]:
        return [Pair(n=10 * ev.n + n) for n in range(ev.n)]

    @step
    async def inner(self, pairs: list[Pair]) -> Done:
        await self.gate.at(f"inner {len(pairs)}")
        return Done(n=sum(pair.n for pair in pairs))

    @step
    async def join(self, parts: list[Done]) -> StopEvent:
        return StopEvent(result=sorted(part.n for part in parts))


class Both(Flow):
    """Two events meet."""

    @step
    async def send(self, ctx: Context, ev: StartEvent) -> Part | Done | None:
        for n in ev.get("parts", []):
            ctx.send_event(Part(n=n))
        for n in ev.get("dones", []):
            ctx.send_event(Done(n=n))
        return None

    @step
    async def meet(self, ctx: Context, part: Part, done: Done) -> Pair | None:
        await self.gate.at(f"meet {part.n} {done.n}")
        if part.n in self.failing:
            raise LookupError(str(part.n))
        return Pair(n=part.n)

    @step
    async def close(self, ev: Pair) -> StopEvent | None:
        return StopEvent(result=ev.n) if ev.n == 99 else None


class Gathering(Flow):
    """A step collects three events over its attempts."""

    @step
    async def send(self, ctx: Context, ev: StartEvent) -> Part | Done | None:
        for n in range(3):
            ctx.send_event(Part(n=n))
        ctx.send_event(Done(n=7))
        return None

    @step
    async def collect(self, ctx: Context, ev: Part | Done) -> StopEvent | None:
        found = ctx.collect_events(ev, [Done, Part, Part, Part])
        await self.gate.at("collect")
        if found is None:
            return None
        return StopEvent(result=[part.get("n") for part in found])


class Quick(Flow):
    """A step collects four parts, of which three are sent at once."""

    @step
    async def send(self, ctx: Context, ev: StartEvent) -> Part | None:
        for n in range(3):
            ctx.send_event(Part(n=n))
        return None

    @step
    async def collect(self, ctx: Context, ev: Part) -> StopEvent | None:
        found = ctx.collect_events(ev, [Part] * 4)
        return StopEvent(result=[part.get("n") for part in found]) if found else None


class Refusing:
    """Refuses one part that a step has collected."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def commit(
        self, records: Sequence[Outgoing], changes: Mapping[bytes, bytes | None]
    ) -> Receipt:
        found = [
            Outgoing(TOPICS.state, key, value, [])
            for key, value in changes.items()
            if key.startswith(state.BUFFERED) and b'"n":1' in (value or b"")
        ]
        if found:
            raise RecordsRefused([(record, MessageSizeTooLargeError()) for record in found])
        return await self._log.commit(records, changes)


Begin = Callable[..., Awaitable[World]]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Broker time; commits gather nothing, and nothing is looked for that could be forgotten."""
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    monkeypatch.setattr(retention, "LOOK_SECONDS", 3600)
    made = Clock()
    monkeypatch.setattr(task, "BrokerClock", lambda *_: made)
    return made


@pytest.fixture
async def begun(clock: Clock) -> AsyncIterator[Begin]:
    """Begins a run of a flow."""
    made: list[World] = []

    async def begin(flow: Flow, **fields: Any) -> World:
        world = World(clock, flow)
        made.append(world)
        await world.begin()
        world.start("r", **fields)
        await settle(world)
        return world

    yield begin
    for world in made:
        for each in world.made:
            await each.close()


async def restart(world: World) -> None:
    """Lose the process; another one takes over a second later."""
    world.clock.ms += 1_000
    await world.restart()
    await settle(world)


async def settle(world: World) -> None:
    for _ in range(3):
        await world.pump()
        await turns()


async def go(world: World, *places: str) -> None:
    """Let steps go on, one after the other."""
    for place in places:
        await world.open(place)
        await settle(world)


def result(world: World) -> object:
    """Return the run's result."""
    end = world.end("r")
    assert isinstance(end, Completed), end
    return StopEvent.model_validate_json(end.event).result


def nothing_is_left(world: World) -> bool:
    """Whether nothing is kept of the run but its end."""
    return world.kept() == [state.end_key("r")]


class TestLists:
    async def test_the_join_has_the_members_in_the_order_in_which_they_were_done(
        self, begun: Begin
    ) -> None:
        """It begins with the last one, and nothing of the fan-out is left."""
        world = await begun(Spread())
        await go(world, "work 2", "work 0")
        assert "join" not in world.flow.gate.entered
        await go(world, "work 1", "join")
        assert result(world) == [2, 0, 1]
        assert nothing_is_left(world)

    async def test_an_empty_list_is_joined_at_once(self, begun: Begin) -> None:
        """Its join gets no member."""
        world = await begun(Spread(), parts=0)
        await go(world, "join")
        assert result(world) == []
        assert nothing_is_left(world)

    async def test_a_branch_that_ends_with_none_is_left_out(self, begun: Begin) -> None:
        """The join waits for the branch, and gets nothing of it."""
        world = await begun(Spread(), parts=10)
        await go(world, *(f"work {n}" for n in range(4)))
        await go(world, *(f"work {n}" for n in range(4, 9)))
        assert "join" not in world.flow.gate.entered
        await go(world, "work 9", "join")
        assert result(world) == [0, 1, 2, 3, 4, 5, 6, 7, 8]

    @pytest.mark.parametrize("done", [0, 1, 2, 3])
    async def test_a_crash_loses_and_repeats_no_branch(self, begun: Begin, done: int) -> None:
        """What was committed counts on the next owner; the join begins once there."""
        world = await begun(Spread())
        await go(world, *(f"work {n}" for n in range(done)))
        await restart(world)
        waiting = set(world.flow.gate.waiting)
        assert waiting == {f"work {n}" for n in range(done, 3)} or waiting == {"join"}
        await go(world, *(f"work {n}" for n in range(done, 3)))
        await go(world, "join")
        assert result(world) == [0, 1, 2]
        assert nothing_is_left(world)

    async def test_a_crash_between_the_last_branch_and_its_join(self, begun: Begin) -> None:
        """The last member is committed, and that the join fires is not: the next owner fires it."""
        world = await begun(Spread())
        await go(world, "work 0", "work 1")
        world.hold = True
        await world.open("work 2")
        world.log.decide()
        await turns()
        await world.pump()
        # The member is taken, in a commit of its own.
        world.log.decide()
        await turns()
        world.hold = False
        await restart(world)
        assert world.flow.gate.entered == ["join"]
        await go(world, "join")
        assert result(world) == [0, 1, 2]

    async def test_what_is_only_decided_fires_no_join(self, begun: Begin) -> None:
        """The last branch has ended, and its commit may still be refused or lost."""
        world = await begun(Spread(), parts=10)
        await go(world, *(f"work {n}" for n in range(4)))
        await go(world, *(f"work {n}" for n in range(4, 8)))
        world.hold = True
        await world.open("work 8")
        world.log.decide()
        await turns()
        await world.pump()
        # The member is taken and its commit is under way; the last branch, which gives nothing,
        # ends meanwhile.
        await world.open("work 9")
        world.log.decide()
        await turns()
        assert "join" not in world.flow.gate.entered
        world.hold = False
        await restart(world)
        assert set(world.flow.gate.waiting) == {"work 9"}
        await go(world, "work 9", "join")
        assert result(world) == [0, 1, 2, 3, 4, 5, 6, 7, 8]

    async def test_a_resumed_run_repeats_only_the_branch_that_failed(self, begun: Begin) -> None:
        """Finished branches stay; what ran or waited when the run failed runs again."""
        flow = Spread()
        flow.failing = {1}
        world = await begun(flow)
        await go(world, "work 0", "work 1")
        assert isinstance(world.end("r"), Failed)
        flow.failing = set()
        flow.gate.entered.clear()
        world.happen(Resumed(), "r", epoch=1, event_id="request")
        await settle(world)
        assert sorted(flow.gate.entered) == ["work 1", "work 2"]
        await go(world, "work 1", "work 2", "join")
        assert [one for one in world.happenings("r") if isinstance(one, Completed)]
        assert nothing_is_left(world)

    async def test_a_join_that_fails_keeps_its_members(self, begun: Begin) -> None:
        """The resumed run joins them again, and repeats no branch."""
        flow = Spread()
        flow.failing = {-1}
        world = await begun(flow)
        await go(world, "work 0", "work 1", "work 2", "join")
        assert isinstance(world.end("r"), Failed)
        assert [letter.joined for letter in world.letters()] == [3]
        await restart(world)
        flow.failing = set()
        world.happen(Resumed(), "r", epoch=1, event_id="request")
        await settle(world)
        assert set(world.flow.gate.waiting) == {"join"}
        await go(world, "join")
        (done,) = (one for one in world.happenings("r") if isinstance(one, Completed))
        assert StopEvent.model_validate_json(done.event).result == [0, 1, 2]
        assert nothing_is_left(world)

    async def test_a_join_of_some_fires_with_them_and_never_again(self, begun: Begin) -> None:
        """What is done later reaches no join."""
        world = await begun(First())
        await go(world, "work 3", "work 1", "work 0")
        assert set(world.flow.gate.waiting) == {"work 2", "close"}
        await restart(world)
        await go(world, "work 2")
        assert set(world.flow.gate.waiting) == {"close"}
        await go(world, "close")
        assert result(world) == 4
        assert nothing_is_left(world)

    async def test_a_join_of_more_than_there_are_takes_all(self, begun: Begin) -> None:
        """The end of the fan-out fires it."""
        world = await begun(First(), parts=1)
        await go(world, "work 0", "close")
        assert result(world) == 0

    async def test_an_inner_fan_out_is_done_before_the_outer_one(self, begun: Begin) -> None:
        """Each list has a join of its own; the outer one waits for all of them."""
        world = await begun(Inner())
        assert set(world.flow.gate.waiting) == {"inner 0", "inner 1", "inner 2"}
        await go(world, "inner 0", "inner 2")
        await restart(world)
        assert set(world.flow.gate.waiting) == {"inner 1"}
        await go(world, "inner 1")
        assert result(world) == [0, 10, 41]
        assert nothing_is_left(world)


class TestSent:
    async def test_a_join_of_a_list_takes_nothing_that_is_sent(self, begun: Begin) -> None:
        """Sent to it by name, the sender hears so; sent to all, it is left out."""
        world = await begun(Sending())
        end = world.end("r")
        assert isinstance(end, Failed)
        assert end.step == "work"
        assert "step join joins what a returned list comes to" in end.failure.message


class TestParameters:
    async def test_each_event_meets_one_of_the_other_type(self, begun: Begin) -> None:
        """The oldest first; what has no partner waits."""
        world = await begun(Both(), parts=[1, 2], dones=[7])
        assert set(world.flow.gate.waiting) == {"meet 1 7"}
        await restart(world)
        assert set(world.flow.gate.waiting) == {"meet 1 7"}
        world.send(Done(n=8), "r", event_id="late")
        await settle(world)
        assert set(world.flow.gate.waiting) == {"meet 1 7", "meet 2 8"}

    async def test_the_letter_of_a_join_that_failed_tells_how_many_met(self, begun: Begin) -> None:
        """There is no record of it in a topic; another event's letter tells none."""
        flow = Both()
        flow.failing = {1}
        world = await begun(flow, parts=[1], dones=[7])
        await go(world, "meet 1 7")
        (letter,) = world.letters()
        assert (letter.step, letter.joined, letter.offset) == ("meet", 2, -1)

    async def test_nothing_is_left_of_what_met(self, begun: Begin) -> None:
        """Also not of what found no partner."""
        world = await begun(Both(), parts=[99, 2], dones=[7])
        await go(world, "meet 99 7")
        assert result(world) == 99
        assert nothing_is_left(world)


class TestCollectEvents:
    async def test_attempts_that_add_at_once_are_run_again(self, begun: Begin) -> None:
        """All four look at an empty buffer; each one that comes too late looks again."""
        world = await begun(Gathering())
        for _ in range(6):
            if world.end("r") is None:
                await go(world, "collect")
        assert sorted(result(world)) == [0, 1, 2, 7]  # type: ignore[call-overload]
        assert result(world)[0] == 7  # type: ignore[index]
        assert nothing_is_left(world)

    async def test_what_the_broker_refuses_is_not_counted(self, begun: Begin) -> None:
        """Of three parts that one commit adds, one is refused: the resumed run adds it once."""
        world = World(Clock(), Quick())
        await world.begin()
        world.task.commits._log = Refusing(world.log)  # type: ignore[assignment]
        world.start("r")
        await settle(world)
        assert isinstance(world.end("r"), Failed)
        world.task.commits._log = world.log
        world.happen(Resumed(), "r", epoch=1, event_id="request")
        await settle(world)
        world.send(Part(n=3), "r", event_id="fourth", epoch=1)
        await settle(world)
        (done,) = (one for one in world.happenings("r") if isinstance(one, Completed))
        assert sorted(StopEvent.model_validate_json(done.event).result) == [0, 1, 2, 3]
        for made in world.made:
            await made.close()
