"""Recorded lives: records of `runs` and of dead-letter topics, as readers are given them."""

from collections.abc import Iterable

from fleet.records.dead_letter import DeadLetter
from fleet.records.envelope import Envelope, Headers
from fleet.records.lifecycle import (
    Cancelled,
    Completed,
    Failed,
    Failure,
    Lifecycle,
    Resumed,
    Resumption,
    Started,
    TimedOut,
)
from fleet.records.log import Delivered

FAILURE = Failure(module="builtins", type="LookupError", message="no judge\nfor it", stack="deep")


def started(read_from: int = 0, event_id: str = "start", timeout: float | None = None) -> Started:
    return Started(start_event_id=event_id, read_from=read_from, timeout_seconds=timeout)


def completed() -> Completed:
    return Completed(step="judge", event_type="Judged", event='{"secret": 1}')


def failed(step: str = "judge") -> Failed:
    return Failed(step=step, event_id="e1", attempt=1, failure=FAILURE)


def cancelled(reason: str = "enough") -> Cancelled:
    return Cancelled(reason=reason)


def timed_out() -> TimedOut:
    return TimedOut(timeout_seconds=3)


def resumed() -> Resumed:
    return Resumed(reason="fixed")


def taken(request_id: str, refused: str = "") -> Resumption:
    return Resumption(request_id=request_id, refused=refused)


def record(
    happening: Lifecycle, offset: int, run_id: str = "r", epoch: int = 0, event_id: str = "e"
) -> Delivered:
    """Return a record of `runs`, appended *offset* seconds after 1000."""
    envelope = Envelope(run_id=run_id, event_id=event_id, type=happening.kind, epoch=epoch)
    return delivered("p.w.runs", offset, run_id, happening.encode(), envelope.headers())


def letter(
    offset: int,
    run_id: str = "r",
    reason: str = "failed",
    step: str = "judge",
    error: str = "LookupError",
    joined: int | None = None,
) -> Delivered:
    """Return a dead letter, appended *offset* seconds after 1000; without a run id of no run."""
    note = DeadLetter(
        reason=reason,
        step=step,
        attempts=1,
        topic="p.w.Told",
        partition=0,
        offset=7,
        failure=FAILURE.model_copy(update={"type": error}),
        joined=joined,
    )
    headers = (
        Envelope(run_id=run_id, event_id="e1", type="Told").headers() if run_id else [("x", b"y")]
    )
    headers = [*headers, ("fleet-dead-letter", note.encode())]
    return delivered("p.w.main.dead", offset, run_id, b'{"secret": 1}', headers)


def delivered(topic: str, offset: int, key: str, value: bytes, headers: Headers) -> Delivered:
    return Delivered(topic, 0, offset, (1000 + offset) * 1000, key.encode(), value, headers)


def ended(run_id: str, last: Lifecycle, first: int = 0) -> Iterable[Delivered]:
    """Return a run's life: it started and ended so."""
    return [record(started(), first, run_id), record(last, first + 1, run_id)]
