"""Records that the broker refuses: their attempt fails, the rest of the commit is committed."""

from collections.abc import AsyncIterator

import pytest
from aiokafka.errors import TopicAuthorizationFailedError
from refusing import refuse
from task_world import JOKES, TOPICS, Clock, World, turns

from fleet import StartEvent
from fleet.engine import commits
from fleet.records import state
from fleet.records.lifecycle import Completed, Failed
from fleet.records.log import Outgoing


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A task that runs."""
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    made = World(Clock())
    await made.begin()
    yield made
    for each in made.made:
        await each.close()


async def generated(world: World, *run_ids: str) -> None:
    """Start runs and let their first steps return, in one commit."""
    for run_id in run_ids:
        world.start(run_id, topic=run_id)
    await world.pump()
    for run_id in run_ids:
        world.flow.gate.open(f"generate {run_id}")
    await turns()
    await world.task.commits.finish()
    await world.pump()


async def completes(world: World, run_id: str) -> None:
    """A run whose joke was made ends as it should."""
    await world.open(f"count {run_id}", f"critique {run_id}")
    assert isinstance(world.end(run_id), Completed)


@pytest.mark.parametrize("topic", [JOKES, TOPICS.state], ids=["event", "context"])
async def test_the_attempt_fails_and_its_neighbours_are_committed(world: World, topic: str) -> None:
    """Of the attempt nothing is visible but its failure; no other step is begun again."""
    prefix = state.context_prefix("bad") if topic == TOPICS.state else b"bad"
    refuse(world, lambda each: each.topic == topic and each.key.startswith(prefix))
    await generated(world, "good", "bad", "fine")

    end = world.end("bad")
    assert isinstance(end, Failed)
    assert (end.step, end.failure.type) == ("generate", "ResultRefused")
    assert topic in end.failure.message
    (letter,) = world.letters()
    assert (letter.reason, letter.step) == ("too_large", "generate")
    assert [each.key for each in world.topics[JOKES]] == [b"good", b"fine"]
    assert not world.kept(state.context_prefix("bad"))
    assert sorted(each.outcome for each in world.history()) == ["raised", "returned", "returned"]
    assert world.flow.gate.entered.count("generate good") == 1
    for run_id in ("good", "fine"):
        await completes(world, run_id)
    await world.restart()
    assert world.kept(state.AWAITING_RESUME) == [state.awaiting_key("bad", "start bad", "generate")]
    assert world.lost == []


async def test_several_records_of_one_attempt_are_one_failure(world: World) -> None:
    """Its event and its context are refused together: one letter, and the task goes on."""
    context = state.context_prefix("bad")
    refuse(
        world,
        lambda each: (each.topic == JOKES and each.key == b"bad") or each.key.startswith(context),
    )
    await generated(world, "good", "bad")

    assert isinstance(world.end("bad"), Failed)
    assert len(world.letters()) == 1
    await completes(world, "good")
    assert world.lost == []


async def test_another_reason_is_named(world: World) -> None:
    """The letter says what to look for: not only sizes are refused."""
    error = TopicAuthorizationFailedError(JOKES)
    refuse(world, lambda each: each.topic == JOKES, error)
    await generated(world, "bad")
    (letter,) = world.letters()
    assert letter.reason == "refused"
    assert "TopicAuthorizationFailed" in letter.failure.message


async def test_a_result_that_is_refused_ends_its_run(world: World) -> None:
    """The caller hears of it instead of waiting."""
    await generated(world, "r")
    refuse(world, lambda each: b"StopEvent" in (each.value or b"") and each.topic == TOPICS.runs)
    await world.open("count r", "critique r")
    end = world.end("r")
    assert isinstance(end, Failed)
    assert end.step == "critique"
    assert world.lost == []


@pytest.mark.parametrize(
    ("topic", "records"), [(TOPICS.history, 0), (TOPICS.dead, 0)], ids=["history", "dead"]
)
async def test_what_only_tells_is_left_out(world: World, topic: str, records: int) -> None:
    """Steps and ends are committed without their history and dead letters."""
    refuse(world, lambda each: each.topic == topic)
    await generated(world, "good", "bad")
    world.start("broken", topic="bad")
    await world.pump()
    await world.open("generate broken")
    await world.open("count broken", "critique broken")
    assert isinstance(world.end("broken"), Failed)
    await completes(world, "good")
    assert len(world.topics[topic]) == records
    assert world.lost == []


async def test_a_large_dead_letter_is_cut_short(world: World) -> None:
    """Its note stays: it says where the original is."""
    refuse(world, lambda each: each.topic == TOPICS.dead and bool(each.value))
    world.start("broken", topic="bad")
    await world.pump()
    await world.open("generate broken")
    await world.open("count broken", "critique broken")
    (letter,) = world.letters()
    assert letter.reason == "failed"


async def test_a_long_failure_is_cut_short(world: World) -> None:
    """A run ends with less of a stack rather than not at all."""
    refuse(world, lambda each: each.topic == TOPICS.runs and b"Traceback" in (each.value or b""))
    world.start("broken", topic="bad")
    await world.pump()
    await world.open("generate broken")
    await world.open("count broken", "critique broken")
    end = world.end("broken")
    assert isinstance(end, Failed)
    assert (end.failure.type, end.failure.stack) == ("LookupError", "")


async def test_without_its_positions_a_task_is_lost(world: World) -> None:
    """What cannot be left out ends the task, with an error that names the topic."""
    refuse(world, lambda each: each.key.startswith(state.POSITION))
    world.start("r")
    await world.pump()
    (failure,) = world.lost
    assert TOPICS.state in str(failure)


async def test_the_same_path_written_twice_in_one_commit(world: World) -> None:
    """The attempt whose value is refused is taken out, and the older value is the run's."""
    path = state.context_prefix("r") + b"seen.generate"
    world.start("r", topic="x")
    world.send(StartEvent(topic="y"), "r", event_id="2", parent_id="1")
    await world.pump()
    refused: list[bytes] = []

    def second(each: Outgoing) -> bool:
        # Both write the same bytes, so it is the last one that is refused, once.
        if each.topic == TOPICS.state and each.key == path and not refused:
            refused.append(each.key)
            return True
        return False

    refuse(world, second)
    world.flow.gate.open("generate r")
    await turns()
    await world.pump()
    assert world.state.get(path) == b'"r"' or isinstance(world.end("r"), Failed)
    assert len(world.topics[JOKES]) == 1
    assert len(world.letters()) == 1
    assert world.lost == []
