"""Foreign bytes in a workflow's topics become dead letters; their runs fail, and nothing stops."""

import json
from collections.abc import AsyncIterator

import pytest
from task_world import JOKES, START, TOPICS, Clock, World, turns

from fleet.engine import commits, retention
from fleet.records.envelope import Envelope, Headers
from fleet.records.lifecycle import Failed, Known, Resumed, Started, TimedOut
from fleet.records.log import Outgoing

#: Headers that are no envelope, beside those of a start event of run `r`.
BROKEN: dict[str, Headers] = {
    "endless": [("fleet-timeout-seconds", b"1.7e308")],
    "overflow": [("fleet-timeout-seconds", b"1e999")],
    "infinite": [("fleet-timeout-seconds", b"inf")],
    "nan": [("fleet-timeout-seconds", b"nan")],
    "negative": [("fleet-timeout-seconds", b"-1")],
    "epoch": [("fleet-epoch", b"1" * 5_000)],
    "large epoch": [("fleet-epoch", b"9" * 4_000)],
    "negative epoch": [("fleet-epoch", b"-1")],
    "underscores": [("fleet-epoch", b"1_0")],
    "replays": [("fleet-replays", b"\xff")],
    "type": [("fleet-type", b"\xff")],
    "long type": [("fleet-type", b"T" * 256)],
    "no type": [("fleet-type", b"")],
    "step": [("fleet-step", b"a\0b")],
    "long step": [("fleet-step", b"s" * 256)],
    "parent": [("fleet-parent-id", b"p" * 256)],
    "context": [("fleet-context", b"[]")],
    "deep context": [("fleet-context", b'{"a":' * 5_000 + b"1" + b"}" * 5_000)],
    "context number": [("fleet-context", b'{"a":' + b"9" * 5_000 + b"}")],
    "twice": [("fleet-timeout-seconds", b"5"), ("fleet-timeout-seconds", b"x")],
}
#: The same of ids: then nobody knows whose the record is.
UNKNOWN: dict[str, Headers] = {
    "no run": [("fleet-run-id", b"")],
    "run bytes": [("fleet-run-id", b"\xff")],
    "run nul": [("fleet-run-id", b"a\0b")],
    "long run": [("fleet-run-id", b"E" * 519_001)],
    "just too long": [("fleet-run-id", "é".encode() * 128)],
    "another run": [("fleet-run-id", b"r"), ("fleet-run-id", b"other")],
    "event": [("fleet-event-id", b"e" * 256)],
    "event nul": [("fleet-event-id", b"\0")],
}
#: Values that are no start event, or no joke.
VALUES: dict[str, bytes | None] = {
    "tombstone": None,
    "empty": b"",
    "bytes": b"\xff\xfe",
    "deep": b"[" * 100_000,
    "deep object": b'{"joke":' * 100_000,
    "list": b"[]",
    "number": b'{"joke":' + b"1" * 10_000 + b"}",
}
LIFECYCLE: dict[str, tuple[str, object]] = {
    "endless": ("started", {"start_event_id": "start r", "timeout_seconds": 1e300}),
    "negative": ("started", {"start_event_id": "start r", "timeout_seconds": -1}),
    "types": ("started", {"start_event_id": ["r"], "timeout_seconds": "soon"}),
    "offset": ("started", {"start_event_id": "start r", "read_from": 10**30}),
    "end": ("known", {"start_event_id": "start r", "end_offset": -7}),
    "time": ("timed_out", {"timeout_seconds": 1e308}),
    "failure": ("failed", {"step": 1, "event_id": None, "failure": []}),
    "kind": ("completed\0", {}),
    "list": ("cancelled", []),
}


def headers(*changed: tuple[str, bytes], type: str = "StartEvent") -> Headers:
    """Return the headers of an event of run `r`, with others in place of some."""
    plain = Envelope(run_id="r", event_id="start r", type=type).headers()
    names = {name for name, _ in changed}
    return [each for each in plain if each[0] not in names] + list(changed)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A task that runs."""
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    monkeypatch.setattr(retention, "LOOK_SECONDS", 3600)
    made = World(Clock())
    await made.begin()
    yield made
    for each in made.made:
        await each.close()


def append(world: World, topic: str, found: Headers, value: bytes | None = b"{}") -> None:
    """Append what is not ours, under the key of run `r`."""
    world.append(Outgoing(topic, b"r", value, found))


async def goes_on(world: World) -> None:
    """The task lives, has done all that it read, and loads again; others' runs complete."""
    for name in ("good", "better"):
        world.start(name, topic="x")
        await world.pump()
        await world.open(f"generate {name}")
        await world.open(f"count {name}", f"critique {name}")
        assert world.end(name).kind == "completed"  # type: ignore[union-attr]
        await world.restart()
    assert world.lost == []
    unfinished = sum(each.pending for each in world.task.trackers.values())
    assert unfinished == len({each.work.record.offset for each in world.task.attempts})


@pytest.mark.parametrize("topic", [START, JOKES, TOPICS.inbox])
@pytest.mark.parametrize("changed", BROKEN.values(), ids=BROKEN.keys())
async def test_a_run_fails_with_a_header_that_cannot_be_read(
    world: World, topic: str, changed: Headers
) -> None:
    """The run is known, and whoever waits for it hears of it at once."""
    append(world, topic, headers(*changed))
    await world.pump()

    (letter,) = world.letters()
    assert letter.reason == "broken_envelope"
    end = world.end("r")
    assert isinstance(end, Failed)
    assert end.failure == letter.failure
    await goes_on(world)


@pytest.mark.parametrize("topic", [START, JOKES, TOPICS.inbox, TOPICS.runs])
@pytest.mark.parametrize("changed", UNKNOWN.values(), ids=UNKNOWN.keys())
async def test_a_record_of_no_known_run_is_a_dead_letter(
    world: World, topic: str, changed: Headers
) -> None:
    """There is no run to fail."""
    append(world, topic, headers(*changed))
    await world.pump()

    (letter,) = world.letters()
    assert letter.reason == "broken_envelope"
    if topic != TOPICS.runs:
        assert world.happenings("r") == []
    await goes_on(world)


@pytest.mark.parametrize("topic", [START, JOKES])
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
async def test_a_value_that_cannot_be_read(world: World, topic: str, value: bytes | None) -> None:
    """Deeply nested, or no JSON, or nothing at all."""
    append(world, topic, headers(type=topic.rpartition(".")[2]), value)
    await world.pump()

    (letter,) = world.letters()
    assert letter.reason == "undecodable"
    assert isinstance(world.end("r"), Failed)
    await goes_on(world)


@pytest.mark.parametrize(("kind", "value"), LIFECYCLE.values(), ids=LIFECYCLE.keys())
async def test_a_lifecycle_record_that_no_worker_writes(
    world: World, kind: str, value: object
) -> None:
    """It ends nothing, and sets no timer; the run that it names completes."""
    world.start("r", topic="x")
    await world.pump()
    written = ("fleet-type", kind.encode())
    append(world, TOPICS.runs, headers(written), json.dumps(value).encode())
    await world.pump()

    (letter,) = world.letters()
    assert letter.reason in ("unknown_lifecycle", "broken_envelope")
    await world.open("generate r")
    await world.open("count r", "critique r")
    await goes_on(world)


@pytest.mark.parametrize(
    "happening",
    [
        Started(start_event_id="other", timeout_seconds=3e9, read_from=2**62),
        Known(start_event_id="start r", end_offset=2**62),
        TimedOut(timeout_seconds=0),
    ],
    ids=["started", "known", "timed out"],
)
async def test_a_lifecycle_record_of_somebody_else(world: World, happening: Started) -> None:
    """What could be a worker's is taken for one, and stops nothing."""
    world.start("r", topic="x", timeout=3e9)
    world.happen(happening, "r", epoch=2**31 - 1)
    await world.pump()
    await goes_on(world)


async def test_a_long_trace_is_left_out(world: World) -> None:
    """The specification says to go on without one that is not valid."""
    append(world, START, headers(("traceparent", b"t" * 300_000)), b'{"topic": "x"}')
    await world.pump()
    await world.open("generate r")
    (joke,) = world.topics[JOKES]
    assert "traceparent" not in dict(joke.headers)
    await goes_on(world)


async def test_an_entry_with_a_broken_envelope_fails_again_when_it_is_resumed(
    world: World,
) -> None:
    """It is suspended with its run, read again, and stops the task neither time."""
    append(world, START, headers(("fleet-timeout-seconds", b"nan")))
    await world.pump()
    world.happen(Resumed(), "r", epoch=1, event_id="request")
    await world.pump()
    await turns()

    assert [each.reason for each in world.letters()] == ["broken_envelope"] * 2
    await goes_on(world)
