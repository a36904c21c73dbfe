"""Lifecycle records: each kind comes back, and versions may differ."""

import json

import pytest

from fleet.records import lifecycle
from fleet.records.dead_letter import DeadLetter
from fleet.records.lifecycle import (
    Cancelled,
    Completed,
    Failed,
    Failure,
    Known,
    Lifecycle,
    Started,
    StepRecord,
    TimedOut,
    UnknownLifecycle,
)

FAILURE = Failure(
    module="builtins", type="KeyError", message="'x'", args=("x", 1, None), stack="Traceback ..."
)
RECORDS: list[Lifecycle] = [
    Started(start_event_id="e1", timeout_seconds=2.5),
    Started(start_event_id="e1"),
    Known(start_event_id="e2", end_offset=7, read_from=9, conflict=True),
    Known(start_event_id="e2"),
    Completed(step="critique", event_type="StopEvent", event='{"result":1}'),
    Failed(step="critique", event_id="e1", attempt=3, failure=FAILURE),
    Cancelled(reason="enough"),
    TimedOut(timeout_seconds=2.5, active_steps=("a", "b")),
]
STEP = StepRecord(
    step="critique",
    group="main",
    event_id="e1",
    event_type="JokeEvent",
    attempt=1,
    queued=1.0,
    started=2.0,
    finished=3.5,
    outcome="returned",
    sent=("StopEvent",),
)


class TestDecode:
    @pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.kind)
    def test_each_kind_comes_back(self, record: Lifecycle) -> None:
        """The kind and the value together give the record again."""
        assert lifecycle.decode(record.kind, record.encode()) == record

    @pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.kind)
    def test_what_a_newer_version_adds_is_ignored(self, record: Lifecycle) -> None:
        """A field that this version does not know does not hide the record from it."""
        newer = {**json.loads(record.encode()), "added_later": {"a": 1}}
        assert lifecycle.decode(record.kind, json.dumps(newer).encode()) == record

    def test_an_unknown_kind_is_named(self) -> None:
        """A kind of a newer version raises an error with the kind and the way out."""
        with pytest.raises(UnknownLifecycle, match=r"'newer'.*upgrade"):
            lifecycle.decode("newer", b"{}")

    @pytest.mark.parametrize("value", [b"", b"{}", b"\xff", b'{"start_event_id": 5}'])
    def test_a_value_that_is_not_of_its_kind_is_refused(self, value: bytes) -> None:
        """Bytes that are no such record raise the same error, whatever they are."""
        with pytest.raises(UnknownLifecycle, match="'started'"):
            lifecycle.decode("started", value)

    def test_four_kinds_end_a_run(self) -> None:
        """Completed, failed, cancelled and timed out end a run; started and known do not."""
        ending = {record.kind for record in RECORDS if record.terminal}
        assert ending == {"completed", "failed", "cancelled", "timed_out"}


class TestBesideARun:
    def test_a_step_record_comes_back(self) -> None:
        """Tools read of an attempt what the worker wrote, also with newer fields."""
        newer = {**json.loads(STEP.encode()), "cost": 5}
        assert StepRecord.decode(json.dumps(newer).encode()) == STEP

    def test_a_dead_letter_says_where_it_came_from(self) -> None:
        """A dead letter carries reason, origin, attempts and the failure."""
        letter = DeadLetter(
            reason="failed",
            step="critique",
            attempts=1,
            topic="fleet.joke.JokeEvent",
            partition=3,
            offset=12,
            failure=FAILURE,
        )
        assert DeadLetter.model_validate_json(letter.encode()) == letter
