"""The fold of `runs`: what became of a run, for every order in which its records may stand."""

import itertools

import lives
import pytest
from lives import cancelled, completed, failed, record, resumed, started, taken, timed_out

from fleet.control.runs.log import RUNNING, Run, RunLog
from fleet.records import outcomes
from fleet.records.lifecycle import Known, Lifecycle
from fleet.records.log import Delivered


def folded(*records: Delivered) -> Run:
    log = RunLog()
    for each in records:
        log.take(each)
    (run,) = log
    return run


def test_a_run_that_started_goes_on() -> None:
    """It has no end, and its first epoch is 0."""
    run = folded(record(started(timeout=3), 5))
    assert (run.outcome, run.end, run.epoch) == (RUNNING, None, 0)
    assert (run.started_at, run.timeout_seconds, run.partition) == (1005, 3, 0)


@pytest.mark.parametrize("terminal", [completed(), failed(), cancelled(), timed_out()])
def test_every_terminal_record_ends_a_run(terminal: Lifecycle) -> None:
    """With its own outcome and time."""
    run = folded(record(started(), 0), record(terminal, 9))
    assert run.end is not None
    assert (run.outcome, run.end.at, run.end.offset) == (terminal.kind, 1009, 9)


@pytest.mark.parametrize(
    "order", list(itertools.permutations([completed(), failed(), timed_out()]))
)
@pytest.mark.parametrize("start", range(4))
def test_the_first_terminal_record_counts_wherever_the_start_stands(
    order: tuple[Lifecycle, ...], start: int
) -> None:
    """Also where it stands before the start, which was written without knowing of it."""
    happenings: list[Lifecycle] = list(order)
    happenings.insert(start, started())
    run = folded(*(record(each, place) for place, each in enumerate(happenings)))
    assert run.outcome == order[0].kind
    assert run.started_at == 1000 + start
    assert len(run.ends) == 1


def test_an_end_of_an_earlier_run_of_the_same_id_is_forgotten() -> None:
    """The new `started` says from where on its own end can stand."""
    run = folded(
        record(started(), 0),
        record(completed(), 1),
        record(started(read_from=2, event_id="anew"), 7),
    )
    assert run.outcome == RUNNING


def test_a_request_alone_resumes_nothing() -> None:
    """Until a worker takes it, the run stands as it ended."""
    run = folded(
        record(started(), 0), record(failed(), 1), record(resumed(), 2, epoch=1, event_id="q")
    )
    assert (run.outcome, run.epoch) == ("failed", 0)
    assert [each.id for each in run.unanswered] == ["q"]


def test_a_taken_request_lets_the_run_go_on_in_the_next_epoch() -> None:
    """A cancel is to carry that epoch."""
    run = folded(*failed_and_resumed())
    assert (run.outcome, run.epoch, run.unanswered) == (RUNNING, 1, [])
    assert (run.has_reached(1), run.has_reached(2)) == (True, False)
    assert (run.went_on_since(1001), run.went_on_since(1003)) == (True, False)


def failed_and_resumed() -> list[Delivered]:
    return [
        record(started(), 0),
        record(failed(), 1),
        record(resumed(), 2, epoch=1, event_id="q"),
        record(taken("q"), 5, epoch=1),
    ]


def test_a_refused_request_lets_the_run_as_it_is() -> None:
    """Its sentence is kept."""
    run = folded(*failed_and_resumed()[:3], record(taken("q", "no"), 5, epoch=1))
    assert (run.outcome, run.requests["q"].refused) == ("failed", "no")


def test_a_terminal_record_of_an_epoch_that_was_left_means_nothing() -> None:
    """What was late in the old epoch does not end the new one."""
    run = folded(*failed_and_resumed(), record(cancelled(), 6, epoch=0))
    assert run.outcome == RUNNING


@pytest.mark.parametrize("offset", [3, 6])
def test_a_resumed_run_ends_once_more(offset: int) -> None:
    """Also where the end stands between the request and its answer."""
    records = [*failed_and_resumed(), record(completed(), offset, epoch=1)]
    run = folded(*sorted(records, key=lambda each: each.offset))
    assert (run.outcome, [end.epoch for end in run.ends]) == ("completed", [0, 1])


def test_an_old_terminal_record_behind_a_request_that_is_taken_later_means_nothing() -> None:
    """A request counts from where it stands, not from its answer."""
    run = folded(
        record(started(), 0),
        record(resumed(), 2, epoch=1, event_id="q"),
        record(cancelled(), 3, epoch=0),
        record(taken("q"), 5, epoch=1),
    )
    assert (run.outcome, run.ends) == (RUNNING, [])


def test_the_first_answer_to_a_request_counts() -> None:
    """A copy of the request is refused, and the run goes on nevertheless."""
    run = folded(*failed_and_resumed(), record(taken("q", "the run goes on already"), 6, epoch=1))
    assert run.has_reached(1)


def test_a_run_may_be_cancelled_before_it_starts() -> None:
    """Then it has an end and no start."""
    run = folded(record(cancelled("typo"), 3))
    assert (run.outcome, run.started_at, run.end and run.end.why) == ("cancelled", None, "typo")


def test_a_repeated_start_is_counted() -> None:
    """It changes nothing else."""
    run = folded(*lives.ended("r", completed()), record(Known(start_event_id="again"), 8))
    assert (run.outcome, run.repeats) == ("completed", 1)


def test_what_nobody_can_read_is_counted_and_passed_over() -> None:
    """A newer kind of record, and one that is none of ours."""
    log = RunLog()
    alien = record(started(), 1)
    log.take(Delivered("p.w.runs", 0, 0, 0, b"r", b"{}", []))
    log.take(
        Delivered("p.w.runs", 0, 2, 0, b"r", b"{}", [*alien.headers[:2], ("fleet-type", b"new")])
    )
    assert (list(log), log.unreadable) == ([], 2)


def test_only_the_runs_that_are_wanted_are_kept() -> None:
    """A topic has very many others."""
    log = RunLog(only=["b"])
    for run_id in "abc":
        log.take(record(started(), 0, run_id))
    assert [run.id for run in log] == ["b"]


def test_a_reason_is_told_in_a_line() -> None:
    """Of a failure its step, class and message; of a timeout its seconds."""
    why = [folded(*lives.ended("r", each)).end for each in (failed(), failed(""), timed_out())]
    assert [end.why for end in why if end] == [
        "judge: LookupError: no judge for it",
        "LookupError: no judge for it",
        "after 3 s",
    ]


def test_neither_values_nor_stacks_are_kept() -> None:
    """There may be very many runs, and results are not to be shown unasked."""
    ends = [folded(*lives.ended("r", each)).end for each in (failed(), completed())]
    assert "secret" not in repr(ends)
    assert "deep" not in repr(ends)
    assert outcomes.ENDS == ("completed", "failed", "cancelled", "timed_out")
