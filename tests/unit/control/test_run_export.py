"""The export of a run: which records and entries are of it, and what it says of those it lacks."""

import lives
import pytest

from fleet.config.settings import Settings
from fleet.control.runs.export import Reading
from fleet.control.runs.log import RunLog
from fleet.control.source import Source
from fleet.joke import JokeFlow
from fleet.records import state
from fleet.records.envelope import Envelope
from fleet.records.exported.run_export import RunExport
from fleet.records.lifecycle import Lifecycle, StepRecord
from fleet.records.log import Delivered
from fleet.records.position import Position

SOURCE = Source(JokeFlow, Settings(prefix="p"))
TOPICS = SOURCE.topics
START, JOKES = TOPICS.event("StartEvent"), TOPICS.event("JokeEvent")


def reading(*happenings: Lifecycle) -> Reading:
    """Return the reading of a run to which this happened."""
    log = RunLog()
    records = [lives.record(one, offset) for offset, one in enumerate(happenings)]
    for one in records:
        log.take(one)
    run = log.get("r")
    assert run is not None
    made = Reading(SOURCE, run)
    for one in records:
        made.take(one._replace(topic=TOPICS.runs))
    return made


def event(topic: str, offset: int, event_id: str, run_id: str = "r") -> Delivered:
    """Return an event of a run."""
    envelope = Envelope(run_id, event_id, topic.rpartition(".")[2])
    return Delivered(topic, 0, offset, 1000 + offset, run_id.encode(), b"{}", envelope.headers())


def attempt(event_id: str) -> Delivered:
    """Return an attempt of a step on an event."""
    told = StepRecord(
        step="critique_joke",
        group="main",
        event_id=event_id,
        event_type="JokeEvent",
        attempt=1,
        queued=1,
        started=1,
        finished=1,
        outcome="returned",
    )
    headers = Envelope("r", event_id, StepRecord.kind).headers()
    return Delivered(TOPICS.history, 0, 0, 1, b"r", told.encode(), headers)


def entry(made: Reading, key: bytes, value: bytes | None = b"{}") -> None:
    """Let a reading take an entry of the state."""
    made.take_entry(Delivered(TOPICS.state, 0, 0, 1, key, value, []))


def keys(run: RunExport) -> list[bytes]:
    """Return the keys of its entries."""
    return [one.key for one in run.state]


def test_only_what_is_of_the_run() -> None:
    """The id of another run may begin with its id; what was deleted is not there."""
    made = reading(lives.started(), lives.failed())
    made.take(event(START, 0, "start"))
    made.take(event(START, 1, "start", run_id="r2"))
    for run_id in ("r", "r2", "another"):
        entry(made, state.run_key(run_id))
        entry(made, state.call_key(run_id, "e", "s", "memo x"))
    entry(made, state.end_key("r"))
    entry(made, state.end_key("r"), None)
    entry(made, state.done_prefix(START, 0) + b"generate_joke")
    entry(made, state.done_prefix(START, 1) + b"generate_joke")
    found = made.document()
    assert [record.offset for record in found.events] == [0]
    assert keys(found) == [
        state.done_prefix(START, 0) + b"generate_joke",
        state.run_key("r"),
        state.call_key("r", "e", "s", "memo x"),
    ]
    assert found.workflow_class == "fleet.joke:JokeFlow"
    assert (found.workflow, found.group, found.prefix) == ("joke", "main", "p")


def test_which_events_are_open() -> None:
    """The newest position says it; without one the group has read nothing."""
    made = reading(lives.started())
    for offset in range(4):
        made.take(event(JOKES, offset, f"e{offset}"))
    made.take(event(START, 0, "start"))
    entry(made, state.position_key(JOKES), Position(0).encode())
    entry(made, state.position_key(JOKES), Position(3, (1,)).encode())
    opened = {(one.topic, one.offset) for one in made.document().events if one.open}
    assert opened == {(JOKES, 1), (JOKES, 3), (START, 0)}


def test_a_whole_run_lacks_nothing() -> None:
    """Its start, its events and its state are there."""
    made = reading(lives.started(), lives.failed())
    made.take(event(START, 0, "start"))
    made.take(event(JOKES, 0, "joke"))
    made.take(attempt("joke"))
    entry(made, state.run_key("r"))
    assert made.document().missing == []


@pytest.mark.parametrize(
    ("happenings", "said"),
    [
        ([lives.failed()], "Its start is in no topic any more"),
        ([lives.started(), lives.failed()], "Its start event is in no topic any more"),
        ([lives.started(), lives.failed()], "Retention has removed events of its steps: 1."),
        ([lives.started(), lives.failed()], "Its state is gone"),
        ([lives.started(), lives.completed()], "its state was removed with its end"),
        ([lives.started()], "The run goes on"),
    ],
)
def test_what_is_missing_is_said(happenings: list[Lifecycle], said: str) -> None:
    """In a sentence each."""
    made = reading(*happenings)
    made.take(attempt("gone"))
    assert said in " ".join(made.document().missing)
