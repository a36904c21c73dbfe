"""What waits for its own run holds up no other: places for runs, and work that is set aside."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from task_world import Clock, Gate, World, turns

from fleet import Context, Event, StartEvent, StopEvent, step
from fleet.engine import commits, intake, retention, task
from fleet.engine.admission import run_queues
from fleet.records import state
from fleet.records.lifecycle import Cancelled, Completed, Resumed, Started, TimedOut
from fleet.workflow.definition import Definition


class Part(Event):
    number: int


class HotFlow(Definition, workflow="joke"):
    """Many parts of a run go through a step that takes one at a time."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.begun: list[str] = []

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Part | StopEvent | None:
        self.begun.append(ctx.run_id)
        await self.gate.at(f"begin {ctx.run_id}")
        for number in range(ev.get("parts", 0)):
            ctx.send_event(Part(number=number))
        return None if ev.get("parts") else StopEvent(result=ctx.run_id)

    @step(num_workers=1)
    async def take(self, ctx: Context, ev: Part) -> StopEvent | None:
        self.begun.append(f"{ctx.run_id} {ev.number}")
        await self.gate.at(f"take {ctx.run_id}")
        return None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Broker time that stands, and commits that wait for nothing."""
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    monkeypatch.setattr(retention, "LOOK_SECONDS", 3600)
    made = Clock()
    monkeypatch.setattr(task, "BrokerClock", lambda *_: made)
    return made


@pytest.fixture
async def hot(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A task in which more than two open events of a topic are a crowd."""
    monkeypatch.setattr(intake, "CROWDED_RECORDS", 2)
    world = World(clock, HotFlow())
    await world.begin()
    yield world
    await closed(world)


@pytest.fixture
async def narrow(clock: Clock, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A task that works on one run at once."""
    world = World(clock, HotFlow(), most_runs=getattr(request, "param", 1))
    yield world
    await closed(world)


async def closed(world: World) -> None:
    """Close every task, of which none was lost."""
    for each in world.made:
        await each.close()
    assert not world.lost


async def parts(world: World, run_id: str, count: int) -> None:
    """Start a run whose parts wait for a step that takes one at a time."""
    world.start(run_id, parts=count)
    await world.pump()
    await world.open(f"begin {run_id}")


async def pass_by(world: World, seconds: float) -> None:
    """Let time pass, and what follows of it."""
    world.clock.ms += seconds * 1_000
    world.task._deadlines._look()
    await turns()
    await world.pump()


def taken(world: World, run_id: str) -> list[int]:
    """Return the numbers of the parts of a run that were begun, in order."""
    begun = (name.split(" ") for name in world.flow.begun if " " in name)
    return [int(number) for run, number in begun if run == run_id]


class TestSetAside:
    async def test_a_crowd_of_one_run_is_set_aside(self, hot: World) -> None:
        """Its events are done in their topic, and what follows there is taken."""
        await parts(hot, "hot", 6)
        assert len(hot.kept(state.suspended_prefix("hot"))) == 4
        assert hot.tracker("fleet.joke.Part").pending == 2
        await parts(hot, "cool", 1)
        assert taken(hot, "cool") == [0]

    async def test_it_is_taken_up_in_order(self, hot: World) -> None:
        """Each when the one before is done; then nothing of it is kept."""
        await parts(hot, "hot", 6)
        for _ in range(6):
            await hot.open("take hot")
        assert taken(hot, "hot") == [0, 1, 2, 3, 4, 5]
        assert hot.kept(state.SUSPENDED) == []

    async def test_a_task_without_a_crowd_sets_nothing_aside(
        self, hot: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It costs two changes of the state for each event."""
        monkeypatch.setattr(intake, "CROWDED_RECORDS", 100)
        await parts(hot, "hot", 6)
        assert hot.kept(state.SUSPENDED) == []

    async def test_it_survives_a_crash(self, hot: World) -> None:
        """Every part is taken, those that were in flight again, and in order."""
        await parts(hot, "hot", 6)
        await hot.restart()
        for _ in range(6):
            await hot.open("take hot")
        counts = Counter(taken(hot, "hot"))
        assert (set(counts), counts.total()) == (set(range(6)), 7)
        assert hot.kept(state.SUSPENDED) == []

    async def test_after_a_crash_only_what_may_run_is_read(self, hot: World) -> None:
        """The rest waits by its key, however much it is."""
        await parts(hot, "hot", 9)
        await hot.crash()
        await hot.begin()
        assert (hot.task.queues.aside, len(hot.task.attempts)) == (6, 1)

    async def test_it_ends_with_its_run(self, hot: World) -> None:
        """A cancelled run leaves it for a resume, and nothing of it begins."""
        await parts(hot, "hot", 6)
        hot.happen(Cancelled(), "hot")
        await hot.pump()
        assert (hot.task.queues.aside, hot.task.attempts.has("hot")) == (0, False)
        assert hot.kept(state.SUSPENDED) == []
        assert len(hot.kept(state.awaiting_prefix("hot"))) == 6
        assert taken(hot, "hot") == [0]

    async def test_a_resumed_run_takes_it_up_once(self, hot: World) -> None:
        """What waited in memory before is not begun a second time."""
        await parts(hot, "hot", 6)
        hot.happen(Cancelled(), "hot")
        await hot.pump()
        hot.happen(Resumed(), "hot", epoch=1, event_id="again")
        await hot.pump()
        for _ in range(6):
            await hot.open("take hot")
        assert Counter(taken(hot, "hot")) == {0: 2, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1}
        assert hot.kept(state.SUSPENDED) == []

    async def test_a_run_that_completes_leaves_nothing_of_it(self, hot: World) -> None:
        """Neither in the state nor in memory."""
        await parts(hot, "hot", 6)
        hot.happen(Completed(step="take", event_type="StopEvent", event="{}"), "hot")
        await hot.pump()
        left = hot.kept(state.SUSPENDED) + hot.kept(state.AWAITING_RESUME)
        assert (left, hot.task.queues.aside) == ([], 0)

    async def test_so_much_is_set_aside_and_no_more(
        self, hot: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The rest stays open, and starts are taken no more."""
        monkeypatch.setattr(run_queues, "MOST_ASIDE", 3)
        await parts(hot, "hot", 9)
        assert hot.task.queues.aside == 3
        assert hot.tracker("fleet.joke.Part").pending == 6
        topics = ("fleet.joke.StartEvent", "fleet.joke.Part")
        assert [hot.task.takes(topic) for topic in topics] == [False, True]

    async def test_what_is_too_large_for_an_entry_stays_open(
        self, hot: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It waits in its topic, as without a crowd."""
        monkeypatch.setattr("fleet.engine.transitions.sizes.MAX_RECORD_BYTES", 10)
        for number in range(6):
            hot.send(Part(number=number), "hot", event_id=f"e{number}")
        await hot.pump()
        assert hot.kept(state.SUSPENDED) == []
        assert len(hot.task.attempts) == 6


class TestPlaces:
    async def test_runs_begin_in_turn(self, narrow: World) -> None:
        """The next one when the one before has ended."""
        await narrow.begin()
        for run_id in ("a", "b", "c"):
            narrow.start(run_id)
        await narrow.pump()
        assert narrow.flow.begun == ["a"]
        await narrow.open("begin a")
        assert narrow.flow.begun == ["a", "b"]
        await narrow.open("begin b")
        await narrow.open("begin c")
        assert narrow.flow.begun == ["a", "b", "c"]
        assert narrow.ended == ["completed"] * 3

    async def test_a_run_in_the_queue_is_told_so(self, narrow: World) -> None:
        """Its start is answered at once, and again when it begins."""
        await narrow.begin()
        narrow.start("a")
        narrow.start("b", timeout=5)
        await narrow.pump()
        (queued,) = narrow.happenings("b")
        assert isinstance(queued, Started)
        assert (queued.queued, queued.timeout_seconds) == (True, 5)
        await narrow.open("begin a")
        _, begun = narrow.happenings("b")
        assert isinstance(begun, Started)
        assert (begun.queued, begun.timeout_seconds) == (False, 5)

    async def test_its_time_counts_from_its_place(self, narrow: World) -> None:
        """It does not time out while it waits, and does so after it began."""
        await narrow.begin()
        narrow.start("a")
        narrow.start("b", timeout=5)
        await narrow.pump()
        await pass_by(narrow, 60)
        assert narrow.end("b") is None
        await narrow.open("begin a")
        await pass_by(narrow, 6)
        assert isinstance(narrow.end("b"), TimedOut)

    @pytest.mark.parametrize("how", ["cancel", "fail", "time out"])
    async def test_each_end_makes_room(self, narrow: World, how: str) -> None:
        """However a run ends, the next one begins."""
        await narrow.begin()
        narrow.start("a", timeout=5, **({"parts": "many"} if how == "fail" else {}))
        narrow.start("b")
        await narrow.pump()
        if how == "cancel":
            narrow.happen(Cancelled(), "a")
        elif how == "fail":
            await narrow.open("begin a")
        else:
            await pass_by(narrow, 6)
        await narrow.pump()
        assert narrow.end("a") is not None
        assert narrow.flow.begun == ["a", "b"]

    async def test_a_run_in_the_queue_can_be_cancelled(self, narrow: World) -> None:
        """It never begins, and the next one is not held up by it."""
        await narrow.begin()
        for run_id in ("a", "b", "c"):
            narrow.start(run_id)
        await narrow.pump()
        narrow.happen(Cancelled(), "b")
        await narrow.pump()
        assert isinstance(narrow.end("b"), Cancelled)
        await narrow.open("begin a")
        assert narrow.flow.begun == ["a", "c"]

    async def test_a_run_that_was_cancelled_in_the_queue_is_resumed(self, narrow: World) -> None:
        """It takes its turn."""
        await narrow.begin()
        for run_id in ("a", "b"):
            narrow.start(run_id)
        await narrow.pump()
        narrow.happen(Cancelled(), "b")
        await narrow.pump()
        narrow.happen(Resumed(), "b", epoch=1, event_id="again")
        await narrow.pump()
        assert narrow.flow.begun == ["a"]
        await narrow.open("begin a")
        assert narrow.flow.begun == ["a", "b"]
        await narrow.open("begin b")
        assert narrow.ended == ["cancelled", "completed", "completed"]

    async def test_the_queue_survives_a_crash(self, narrow: World) -> None:
        """What had begun runs first, and the others follow in their order."""
        await narrow.begin()
        for run_id in ("a", "c", "b"):
            narrow.start(run_id)
            narrow.clock.ms += 1
        await narrow.pump()
        await narrow.restart()
        for run_id in ("a", "c", "b"):
            await narrow.open(f"begin {run_id}")
        assert narrow.flow.begun == ["a", "a", "c", "b"]
        queued = [one for one in narrow.happenings("b") if isinstance(one, Started)]
        assert [one.queued for one in queued] == [True, False]

    async def test_the_queue_is_set_aside(
        self, narrow: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Thousands of starts that wait hold up no event of a run that has begun."""
        monkeypatch.setattr(intake, "CROWDED_RECORDS", 2)
        await narrow.begin()
        runs = [f"r{number}" for number in range(8)]
        for run_id in runs:
            narrow.start(run_id)
            narrow.clock.ms += 1
        await narrow.pump()
        assert len(narrow.kept(state.SUSPENDED)) == 6
        await narrow.restart()
        for run_id in runs:
            await narrow.open(f"begin {run_id}")
        assert narrow.flow.begun == ["r0", *runs]
        assert narrow.kept(state.SUSPENDED) == []

    async def test_a_stray_event_takes_no_place_for_good(self, narrow: World) -> None:
        """A run that may never be started has one only while a step of it runs."""
        await narrow.begin()
        narrow.send(Part(number=1), "stray")
        await narrow.pump()
        narrow.start("a")
        await narrow.pump()
        assert narrow.flow.begun == ["stray 1"]
        await narrow.open("take stray")
        assert narrow.flow.begun == ["stray 1", "a"]

    async def test_a_drained_task_begins_no_run(self, narrow: World) -> None:
        """The next owner does; here the queue stays as it is."""
        await narrow.begin()
        for run_id in ("a", "b"):
            narrow.start(run_id)
        await narrow.pump()
        draining = asyncio.create_task(narrow.task.drain(5))
        await turns()
        await narrow.open("begin a")
        await draining
        assert narrow.flow.begun == ["a"]
        assert len(narrow.happenings("b")) == 1

    async def test_without_the_limit_a_queued_run_begins(self, narrow: World) -> None:
        """A new deployment may have removed it; then the run's time counts."""
        await narrow.begin()
        for run_id in ("a", "b"):
            narrow.start(run_id)
        await narrow.pump()
        narrow._most_runs = None
        await narrow.restart()
        assert sorted(narrow.flow.begun) == ["a", "a", "b"]
        queued = [one for one in narrow.happenings("b") if isinstance(one, Started)]
        assert [one.queued for one in queued] == [True, False]

    @pytest.mark.parametrize("narrow", [2], indirect=True)
    async def test_several_runs_run_at_once(self, narrow: World) -> None:
        """As many as the limit says."""
        await narrow.begin()
        for run_id in ("a", "b", "c"):
            narrow.start(run_id)
        await narrow.pump()
        assert narrow.flow.begun == ["a", "b"]
        assert narrow.task.attempts.active_steps("a") == {"begin"}
