"""How a run ends, when it times out, and what stays of it until it is forgotten."""

from collections.abc import Iterable, Iterator

from pydantic_core import from_json

from fleet.engine.transitions import edits, journal, runs, scopes, starts, suspended, suspending
from fleet.engine.transitions.children import cancelling, telling
from fleet.engine.transitions.draft import Draft, Due, Ended
from fleet.engine.transitions.runs import End, Place
from fleet.engine.transitions.waiting import answers, reasons
from fleet.records import state
from fleet.records.envelope import MAX_TIMEOUT_SECONDS, Envelope
from fleet.records.lifecycle import Completed, Lifecycle, Started, TimedOut
from fleet.records.log import Delivered, Outgoing
from fleet.records.topics import Topics


def conclude(
    draft: Draft, topics: Topics, record: Delivered, envelope: Envelope, terminal: Lifecycle
) -> Ended | None:
    """Take a terminal record of `runs`: only here does a run end."""
    run_id = envelope.run_id
    run, before = runs.run_of(draft.state, run_id), runs.end_of(draft.state, run_id)
    place = Place(envelope.epoch, record.offset, record.appended_ms)
    end = runs.conclude(run, before, terminal, place)
    if end is None:
        if isinstance(terminal, Completed):
            _take_late(draft, topics, record, envelope, before)
        return None
    draft.state.put(state.end_key(run_id), end.encode())
    if run is not None:
        telling.tell(draft, run.caller, run_id, end.epoch, terminal)
    if run is not None and run.children:
        cancelling.of_run(draft, run_id, end.outcome)
    if end.epoch or (run is not None and run.held):
        settle = suspended.await_resume if end.resumable else suspended.remove
        settle(draft.state, run_id)
    if end.resumable:
        starts.clear_seen(draft, run_id)
    else:
        _remove(draft, run_id)
    seen_ms = run.seen_ms if run is not None else end.ended_ms
    return Ended(run_id, end.outcome, (end.ended_ms - seen_ms) / 1000)


def complete(draft: Draft, topics: Topics, record: Delivered, envelope: Envelope) -> None:
    """Write a result of an older epoch for the one that the run has come to."""
    epoch = runs.at_epoch(draft.state, envelope).epoch
    headers = suspended.with_epoch(record.headers, epoch)
    draft.records.append(Outgoing(topics.runs, record.key or b"", record.value, headers))


def _take_late(
    draft: Draft, topics: Topics, record: Delivered, envelope: Envelope, end: End | None
) -> None:
    """Let a result that came after the end of its epoch count for the next one."""
    if end is None:
        complete(draft, topics, record, envelope)
    elif end.resumable:
        suspending.keep(draft, record, envelope, "")


def set_deadline(
    draft: Draft, record: Delivered, envelope: Envelope, started: Started
) -> Due | None:
    """Take a `started` record: its append time is the base of the run's deadline."""
    run = runs.run_of(draft.state, envelope.run_id)
    dated = runs.with_deadline(run, started, record.appended_ms) if run else None
    if dated is None or runs.end_of(draft.state, envelope.run_id) is not None:
        return None
    draft.state.put(state.run_key(envelope.run_id), dated.encode())
    return Due(envelope.run_id, dated.deadline_ms)


def deadlines(runs_kept: Iterable[tuple[bytes, bytes]]) -> Iterator[Due]:
    """Yield the deadlines of runs; of one that has ended, `timed_out` knows that it has."""
    for key, value in runs_kept:
        # A million runs may sleep: most have none, and of the others nothing else is wanted.
        if b'"deadline_ms"' in value:
            yield Due(key[len(state.RUN) :].decode(), from_json(value)["deadline_ms"])


def timed_out(draft: Draft, topics: Topics, run_id: str, active_steps: Iterable[str]) -> None:
    """Write that a run's deadline has passed, unless it ended before."""
    run = runs.run_of(draft.state, run_id)
    if run is None or runs.end_of(draft.state, run_id) is not None:
        return
    envelope = Envelope(
        run_id=run_id, event_id=run.start_event_id, type=TimedOut.kind, epoch=run.epoch
    )
    happening = TimedOut(
        timeout_seconds=min(run.timeout_seconds or 0, MAX_TIMEOUT_SECONDS),
        active_steps=tuple(sorted(active_steps)),
        waiting=reasons.of_run(draft.state, run_id) if run.held else (),
    )
    draft.append_lifecycle(topics, envelope, happening)


def forget(draft: Draft, run_id: str, *, resumable: bool) -> None:
    """Remove what is kept of an ended run: its end, and all that a resume would need."""
    if resumable:
        _remove(draft, run_id)
    draft.state.delete(state.end_key(run_id))


def forget_unstarted(draft: Draft, run_id: str) -> None:
    """Remove everything that is kept of a run whose start never came."""
    suspended.remove(draft.state, run_id)
    _remove(draft, run_id)


def remove_held(draft: Draft, run_id: str) -> None:
    """Remove what is kept of a run's fan-outs, joins, edits and recorded calls."""
    scopes.remove(draft, run_id)
    edits.remove(draft, run_id)
    journal.remove(draft, run_id)


def _remove(draft: Draft, run_id: str) -> None:
    run = runs.run_of(draft.state, run_id)
    # Of a run that failed before its start nothing says any more what it held.
    if run is None or run.held:
        remove_held(draft, run_id)
    if run is None or run.waits:
        answers.remove(draft, run_id)
    draft.state.discard(state.run_key(run_id))
    starts.clear_seen(draft, run_id)
    if run is None or run.context:
        draft.state.delete_all(state.context_prefix(run_id))
    draft.state.delete_all(state.awaiting_prefix(run_id))
