"""What a newer version of Fleet has written stays whole in the hands of an older one."""

import json
from collections.abc import AsyncIterator

import pytest
from task_world import TOPICS, Clock, World, turns

from fleet.engine import commits, task
from fleet.engine.offsets import OffsetTracker
from fleet.engine.transitions.runs import Run
from fleet.engine.transitions.suspended import Suspended
from fleet.records import lifecycle, state
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import Cancelled, Completed, Lifecycle, Resumed


class Expired(Lifecycle):
    """A newer version's way to end a run."""

    kind = "expired"
    terminal = True


class Noted(Lifecycle):
    """A newer version's remark."""

    kind = "noted"


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    clock = Clock()
    monkeypatch.setattr(task, "BrokerClock", lambda *_: clock)
    made = World(clock)
    await made.begin()
    yield made
    for each in made.made:
        await each.close()


def upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next worker be of the newer version."""
    kinds = lifecycle._KINDS | {Expired.kind: Expired, Noted.kind: Noted}
    monkeypatch.setattr(lifecycle, "_KINDS", kinds)


async def settled(world: World) -> None:
    for _ in range(4):
        await turns()
        await world.pump()


def happen(world: World, kind: str, run_id: str = "r", event_id: str = "o") -> None:
    """Append a record of a kind that only the newer version knows."""
    envelope = Envelope(run_id=run_id, event_id=event_id, type=kind)
    world.raw(TOPICS.runs, b'{"more":[1]}', envelope.headers())


def waiting(world: World) -> list[bytes]:
    return world.kept(state.SUSPENDED)


class TestKinds:
    """Of records in `runs`."""

    async def test_it_waits_for_a_version_that_knows_it(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No dead letter, the run goes on meanwhile, and the newer worker acts on it."""
        world.start("r", topic="x")
        await settled(world)
        happen(world, Expired.kind)
        await settled(world)
        assert (world.letters(), world.ended, len(waiting(world))) == ([], [], 1)

        upgrade(monkeypatch)
        await world.restart()
        await settled(world)

        assert world.ended == [Expired.kind]
        assert waiting(world) == []

    async def test_it_survives_older_workers(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Several of the same event id, each in its place."""
        world.start("r", topic="x")
        await settled(world)
        happen(world, Noted.kind, event_id="start r")
        happen(world, Noted.kind, event_id="start r")
        await settled(world)
        for _ in range(2):
            await world.restart()
            await settled(world)
        assert len(waiting(world)) == 2
        kept = [Suspended.decode(world.state[key]) for key in waiting(world)]
        assert {each.value for each in kept} == {b'{"more":[1]}'}

        upgrade(monkeypatch)
        await world.restart()
        await settled(world)
        assert (waiting(world), world.letters()) == ([], [])

    async def test_it_goes_with_its_run(self, world: World) -> None:
        """One that completes takes along what nobody knew."""
        world.start("r", topic="x")
        await settled(world)
        happen(world, Noted.kind)
        await settled(world)
        await world.open("generate r")
        await world.open("count r", "critique r")

        assert world.ended == [Completed.kind]
        assert world.kept() == [state.end_key("r")]

    async def test_it_is_kept_with_a_run_that_may_be_resumed(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Frozen, and then a newer version's."""
        world.start("r", topic="x")
        await settled(world)
        happen(world, Noted.kind)
        world.happen(Cancelled(), "r")
        happen(world, Noted.kind)
        await settled(world)
        resumable = [key for key in world.kept(state.AWAITING_RESUME) if b"runs " in key]
        assert (len(resumable), waiting(world)) == (2, [])

        upgrade(monkeypatch)
        await world.restart()
        world.happen(Resumed(), "r", epoch=1)
        await settled(world)

        assert [key for key in world.kept() if b"runs " in key] == []
        assert world.letters() == []

    async def test_it_may_come_before_its_run(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No order holds between topics."""
        happen(world, Expired.kind)
        await settled(world)
        assert len(waiting(world)) == 1
        world.start("r", topic="x")
        await settled(world)

        upgrade(monkeypatch)
        await world.restart()
        await settled(world)
        assert world.ended == [Expired.kind]

    async def test_one_that_ends_a_run_leaves_nothing_of_it_to_run(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever waited beside it was of the run that has ended."""
        world.start("r", topic="x")
        await settled(world)
        world.happen(Cancelled(), "r")
        await settled(world)
        happen(world, Expired.kind)
        world.happen(Resumed(), "r", epoch=1)
        await world.restart()
        await settled(world)
        upgrade(monkeypatch)
        await world.restart()
        await settled(world)

        assert world.ended[-1] == Expired.kind
        assert not world.task.attempts.has("r")


class TestFields:
    """Of values that an older version reads, changes and writes."""

    async def test_of_a_run(self, world: World) -> None:
        """The deadline is noted, and what is not known of the run stays."""
        world.start("r", topic="x", timeout=60)
        await turns()
        world.deliver("fleet.joke.StartEvent")
        await turns()
        key = state.run_key("r")
        world.state[key] = json.dumps(json.loads(world.state[key]) | {"tenant": "cats"}).encode()
        await world.restart()
        await settled(world)

        run = json.loads(world.state[key])
        assert run["tenant"] == "cats"
        assert run["deadline_ms"]

    def test_of_an_entry(self) -> None:
        """A copy that differs has them, too."""
        entry = Run.decode(b'{"start_event_id":"s","tenant":"cats","limits":{"a":1}}')
        changed = entry.model_copy(update={"held": True})
        assert json.loads(changed.encode()) == {
            "start_event_id": "s",
            "held": True,
            "tenant": "cats",
            "limits": {"a": 1},
        }

    def test_of_suspended_work(self) -> None:
        """The event behind it is untouched."""
        entry = b'{"topic":"t","headers":[["a",null]],"step":"s","priority":3}\0\x00\xff{'
        kept = Suspended.decode(entry).model_copy(update={"until": "resume"})
        fields, _, value = kept.encode().partition(b"\0")
        assert (json.loads(fields)["priority"], value) == (3, b"\x00\xff{")

    @pytest.mark.parametrize(
        "position",
        [
            b'[7,[3,5],"id",6,1700,[1,1,2,1],"newer",{"a":1}]',
            b'[7,[3,5],"id",6,1700,[],["newer"]]',
        ],
    )
    def test_of_a_position(self, position: bytes) -> None:
        """Written again with a record more that is done."""
        tracker = OffsetTracker.decode(position)
        assert json.loads(tracker.seal()) == json.loads(position)
        tracker.deliver(3, 1700)
        tracker.done(3)
        assert json.loads(tracker.seal())[6:] == json.loads(position)[6:]

    async def test_of_a_headers_list(self, world: World) -> None:
        """A result that came too late is written again with everything around it."""
        world.start("r", topic="x")
        await settled(world)
        world.happen(Cancelled(), "r")
        await settled(world)
        envelope = Envelope(run_id="r", event_id="late", type=Completed.kind)
        value = Completed(step="s", event_type="StopEvent", event='{"result":1}').encode()
        world.raw(TOPICS.runs, value, [*envelope.headers(), ("fleet-newer", b"kept")])
        await settled(world)
        world.happen(Resumed(), "r", epoch=1)
        await settled(world)

        ends = [each for each in world.topics[TOPICS.runs] if each.value == value]
        assert [dict(each.headers).get("fleet-newer") for each in ends] == [b"kept", b"kept"]
        assert world.ended[-1] == Completed.kind
