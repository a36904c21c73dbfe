"""A run's beginning and end, decided alike in whatever order things arrive."""

from typing import Any

import pytest

from fleet.engine.transitions import runs
from fleet.engine.transitions.runs import (
    Admission,
    Begun,
    End,
    Place,
    Redelivered,
    Repeated,
    Run,
    Start,
)
from fleet.engine.transitions.suspended import Suspended
from fleet.records.lifecycle import (
    Cancelled,
    Completed,
    Failed,
    Failure,
    Lifecycle,
    Started,
    TimedOut,
)

START = Start(event_id="s1", offset=3, fingerprint="f1", timeout_seconds=10, appended_ms=1_000)
AGAIN = START._replace(event_id="s2", offset=4, appended_ms=2_000)
OTHER = AGAIN._replace(fingerprint="f2")
RUN = Run(start_event_id="s1", start_offset=3, fingerprint="f1", timeout_seconds=10, seen_ms=1_000)
COMPLETED = Completed(step="last", event_type="StopEvent", event="{}")
FAILED = Failed(step="last", event_id="e", failure=Failure(module="m", type="T", message=""))
CANCELLED, TIMED_OUT = Cancelled(), TimedOut(timeout_seconds=10)


def ended(terminal: Lifecycle = COMPLETED, run: Run | None = RUN) -> End:
    """Return the end of RUN by *terminal* at offset 7."""
    end = runs.conclude(run, None, terminal, Place(epoch=0, offset=7, appended_ms=9))
    assert end is not None
    return end


def repeated(run: Run | None, end: End | None, start: Start) -> Any:
    """Return the answer to a start event that starts nothing."""
    decision = runs.begin(run, end, start, runs_position=20)
    assert isinstance(decision, Repeated)
    return decision.answer


class TestBegin:
    def test_the_first_start_event_begins_the_run(self) -> None:
        """The run is kept and its beginning is written."""
        decision = runs.begin(None, None, START, 0)
        assert decision == Begun(run=RUN, record=Started(start_event_id="s1", timeout_seconds=10))

    def test_a_start_after_another_event_of_the_run_begins_it(self) -> None:
        """An event may overtake its start; when it was first seen stays known."""
        seen = Run(seen_ms=500, epoch=2)
        decision = runs.begin(seen, None, START, 0)
        assert isinstance(decision, Begun)
        assert decision.run == RUN.model_copy(update={"seen_ms": 500, "epoch": 2})

    def test_the_same_start_event_again_is_redelivered(self) -> None:
        """After a crash the log hands it out again; nothing is written anew."""
        assert runs.begin(RUN, None, START, 0) == Redelivered()

    def test_a_copy_of_the_start_event_begins_nothing(self) -> None:
        """A client that heard no answer may have written the record twice."""
        copy = START._replace(offset=5)
        assert not repeated(RUN, None, copy).conflict
        assert repeated(None, ended(), copy).end_offset == 7

    def test_a_repeat_of_a_run_that_goes_on_is_told_where_to_read(self) -> None:
        """There is no end yet, so whoever asks reads on from what the group has read."""
        answer = repeated(RUN, None, AGAIN)
        assert (answer.start_event_id, answer.end_offset, answer.read_from) == ("s2", None, 20)
        assert not answer.conflict

    @pytest.mark.parametrize("terminal", [COMPLETED, FAILED, CANCELLED, TIMED_OUT], ids=repr)
    def test_a_repeat_of_an_ended_run_is_told_where_the_end_is(self, terminal: Lifecycle) -> None:
        """Whatever the run ended with, the same id starts nothing."""
        answer = repeated(None, ended(terminal), AGAIN)
        assert (answer.start_event_id, answer.end_offset) == ("s2", 7)
        assert not answer.conflict

    def test_a_repeat_with_other_fields_is_a_conflict(self) -> None:
        """While the run goes on and after it: the id was used for something else."""
        assert repeated(RUN, None, OTHER).conflict
        assert repeated(None, ended(), OTHER).conflict

    def test_a_run_that_was_cancelled_before_its_start_does_not_begin(self) -> None:
        """Nobody knows the first fields, so no fields conflict with them."""
        answer = repeated(None, ended(CANCELLED, run=None), START)
        assert (answer.end_offset, answer.conflict) == (7, False)

    def test_the_same_start_event_after_the_end_is_redelivered(self) -> None:
        """The end may be read before what led to it comes again; nobody waits for an answer."""
        assert runs.begin(RUN, ended(FAILED), START, 0) == Redelivered()
        assert runs.begin(None, ended(COMPLETED), START, 0) == Redelivered()


class TestAdmit:
    def test_events_of_a_run_that_goes_on_run(self) -> None:
        """Also those of a run of which nothing is known yet."""
        assert runs.admit(None, 0) is Admission.RUN

    def test_events_of_a_completed_run_are_dropped(self) -> None:
        """Its result is out, and nothing can change it."""
        assert runs.admit(ended(COMPLETED), 0) is Admission.DROP

    @pytest.mark.parametrize("terminal", [FAILED, CANCELLED, TIMED_OUT], ids=repr)
    def test_events_of_a_run_without_a_result_are_suspended(self, terminal: Lifecycle) -> None:
        """It may be resumed, and then they are work again."""
        assert runs.admit(ended(terminal), 0) is Admission.SUSPEND

    @pytest.mark.parametrize("terminal", [COMPLETED, FAILED], ids=repr)
    def test_events_of_a_newer_epoch_run(self, terminal: Lifecycle) -> None:
        """A resumed run goes on though its former epoch has ended."""
        assert runs.admit(ended(terminal), 1) is Admission.RUN

    def test_events_of_an_older_epoch_follow_the_end(self) -> None:
        """What is left of an earlier epoch ends with a later one."""
        later = ended(COMPLETED).model_copy(update={"epoch": 2})
        assert runs.admit(later, 1) is Admission.DROP


class TestConclude:
    @pytest.mark.parametrize("terminal", [COMPLETED, FAILED, CANCELLED, TIMED_OUT], ids=repr)
    def test_the_first_terminal_record_is_the_end(self, terminal: Lifecycle) -> None:
        """Its place and what the run began with are kept."""
        assert runs.conclude(RUN, None, terminal, Place(0, 7, 9)) == End(
            outcome=terminal.kind,
            offset=7,
            ended_ms=9,
            seen_ms=RUN.seen_ms,
            start_event_id="s1",
            start_offset=3,
            fingerprint="f1",
        )

    @pytest.mark.parametrize("late", [COMPLETED, FAILED, CANCELLED, TIMED_OUT], ids=repr)
    def test_a_later_one_of_the_same_epoch_changes_nothing(self, late: Lifecycle) -> None:
        """A run has one effective end, whatever else was written."""
        assert runs.conclude(RUN, ended(CANCELLED), late, Place(0, 8, 10)) is None

    def test_a_newer_epoch_has_an_end_of_its_own(self) -> None:
        """A resumed run ends again; what comes late from before does not count."""
        newer = runs.conclude(RUN, ended(FAILED), COMPLETED, Place(1, 30, 99))
        assert newer is not None
        assert (newer.outcome, newer.epoch, newer.offset) == ("completed", 1, 30)
        assert runs.conclude(RUN, newer, FAILED, Place(0, 31, 100)) is None

    def test_a_cancel_before_the_start_is_an_end(self) -> None:
        """It has no start event and no fingerprint."""
        end = ended(CANCELLED, run=None)
        assert (end.outcome, end.start_event_id, end.fingerprint) == ("cancelled", "", "")

    def test_only_a_completed_run_is_not_resumable(self) -> None:
        """State is kept for whoever resumes the run."""
        assert not ended(COMPLETED).resumable
        assert all(ended(each).resumable for each in (FAILED, CANCELLED, TIMED_OUT))


class TestDeadline:
    STARTED = Started(start_event_id="s1", timeout_seconds=2.5)

    def test_it_counts_from_the_brokers_time_of_the_start(self) -> None:
        """Append time of `started` plus the timeout, in milliseconds."""
        dated = runs.with_deadline(RUN, self.STARTED, 10_000)
        assert dated == RUN.model_copy(update={"deadline_ms": 12_500})

    def test_it_is_set_once(self) -> None:
        """A second `started`, as after a crash, does not prolong the run."""
        dated = runs.with_deadline(RUN, self.STARTED, 10_000)
        assert dated is not None
        assert runs.with_deadline(dated, self.STARTED, 99_000) is None

    def test_a_run_without_a_timeout_has_none(self) -> None:
        """It may take as long as it takes."""
        assert runs.with_deadline(RUN, Started(start_event_id="s1"), 10_000) is None

    def test_another_start_events_record_does_not_count(self) -> None:
        """Only the start that began this run dates it."""
        other = Started(start_event_id="s2", timeout_seconds=1)
        assert runs.with_deadline(RUN, other, 10_000) is None


class TestEntries:
    @pytest.mark.parametrize(
        "entry",
        [
            RUN,
            Run(),
            ended(CANCELLED),
            Suspended(
                topic="t",
                headers=(("fleet-run-id", b"\xc3\xbc"), ("x", b"\xff")),
                value=b"\x00\xff",
                step="s",
                since_ms=5,
            ),
        ],
        ids=lambda entry: type(entry).__name__,
    )
    def test_a_state_value_comes_back(self, entry: Run | End | Suspended) -> None:
        """Bytes that are no text survive as well."""
        assert type(entry).decode(entry.encode()) == entry

    def test_a_newer_versions_field_is_ignored(self) -> None:
        """After a downgrade the state can still be read."""
        assert Run.decode(b'{"start_event_id":"s1","added_later":[1]}').start_event_id == "s1"
