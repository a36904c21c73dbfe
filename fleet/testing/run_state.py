"""
The state with which the replay of a run begins, from the export of the run.

It is what a worker has whose run was just resumed, but for four things. The answers that a step
has refused are there again, and so is what its calls have raised. A failed step has as many
attempts behind it as it had before the one that failed, so that its retry policy gives up again.
What waits for a time has as long to wait as when the run was read. And there is no time limit for
the run, because you may look at a breakpoint for as long as you like.
"""

from collections.abc import Iterable, Iterator

from fleet.engine.transitions import suspended
from fleet.engine.transitions.runs import End, Run
from fleet.engine.transitions.suspended import Suspended, Tries
from fleet.memory.backend import MemoryStore
from fleet.records import calls, printable, state
from fleet.records.errors import FleetError
from fleet.records.exported.run_export import ExportedRecord, RunExport
from fleet.records.lifecycle import Completed, Failed, Started
from fleet.records.state import Overlay
from fleet.workflow.context_state import leaves
from fleet.workflow.graph import Graph

#: What a replay does not take over: the end, times that are computed, and who may have crashed.
_LEFT_OUT = (state.END, state.DUE, state.SUSPECT, state.DONE)


class NotReplayable(FleetError):
    """Raised by `replay` if the export has no work of the run that could be done again.

    What to do: Export the run before it is resumed and within FLEET_RESUME_DAYS of its end. Of a
    completed run, name a step: `replay(run, step="critique")`.
    """

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(f"run {printable.line(run_id)} cannot be replayed: {reason}")


def of(
    run: RunExport, graph: Graph, step: str | None, now_ms: int, *, live: bool = False
) -> MemoryStore:
    """Return the state in which what failed runs again, or *step* on its last event.

    *live*: calls that have failed are made again. Raises NotReplayable.
    """
    store = MemoryStore()
    store.write({entry.key: entry.value for entry in run.state if _is_taken(entry.key)})
    changes = Overlay(store)
    known = _run(run, changes)
    changes.put(state.run_key(run.run_id), known.encode())
    changes.delete_all(state.SEEN)
    if step is not None:
        _only(run, changes, graph, step, now_ms)
    else:
        _resume(run, changes, known, now_ms)
        _add_open(run, changes, graph, known.epoch, now_ms)
    _bring_back(run, changes, live=live)
    _check(run, changes, graph)
    store.write(changes.changes)
    return store


def _is_taken(key: bytes) -> bool:
    return not key.startswith(_LEFT_OUT)


def _run(run: RunExport, changes: Overlay) -> Run:
    """Return what is kept of the run, in its next epoch."""
    value = changes.get(state.run_key(run.run_id)) or changes.get(state.seen_key(run.run_id))
    found = Run.decode(value) if value is not None else _from_records(run, changes)
    ends = [End.decode(entry.value) for entry in run.state if entry.key.startswith(state.END)]
    epochs = [envelope.epoch for _, envelope, _ in run.happenings()]
    epoch = max([found.epoch, *(end.epoch + 1 for end in ends)])
    if value is None:
        epoch = max([epoch, *(one + 1 for one in epochs)])
    flags = {"held": True, "context": True, "waits": True, "queued": False, "caller": ""}
    times = {"timeout_seconds": None, "deadline_ms": 0}
    return found.model_copy(update={"epoch": epoch, **flags, **times})


def _from_records(run: RunExport, changes: Overlay) -> Run:
    """Return a run whose state is gone, with the context that its result came with."""
    found = Run()
    for record, _, happening in run.happenings():
        match happening:
            case Started(start_event_id=event_id):
                found = Run(start_event_id=event_id, seen_ms=record.appended_ms)
            case Completed(context=context) if context:
                leaves.begin(changes, context, state.context_prefix(run.run_id))
    return found


def _resume(run: RunExport, changes: Overlay, known: Run, now_ms: int) -> None:
    """Let everything run that waits for a resume, with the attempts that were made before."""
    prefix = state.awaiting_prefix(run.run_id)
    before = {
        key[len(prefix) :]: Suspended.decode(value).tries for key, value in changes.items(prefix)
    }
    failed = set(_failed(run))
    suspended.resume(changes, run.run_id, known.epoch, now_ms)
    for place, tries in before.items():
        key = state.suspended_prefix(run.run_id) + place
        value = changes.get(key)
        if value is not None:
            entry = Suspended.decode(value)
            again = _without_last(tries) if place in failed else tries
            changes.put(key, entry.model_copy(update={"tries": again}).encode())
    _keep_times(run, changes, now_ms)


def _keep_times(run: RunExport, changes: Overlay, now_ms: int) -> None:
    """Let what waits for its time wait for as long as it still had to when the run was read."""
    changes.delete_all(state.DUE)
    for key, value in list(changes.items(state.waiting_prefix(run.run_id))):
        entry = Suspended.decode(value)
        if entry.due_ms:
            due_ms = now_ms + max(0, entry.due_ms - run.exported_ms)
            changes.put(key, entry.model_copy(update={"due_ms": due_ms}).encode())
            changes.put(state.due_key(due_ms, key), b"1")


def _failed(run: RunExport) -> Iterator[bytes]:
    """Yield event and step of the attempts with which the run has failed, as in a state key."""
    for _, _, happening in run.happenings():
        if isinstance(happening, Failed):
            yield f"{happening.event_id}\0{happening.step}".encode()


def _without_last(tries: Tries | None) -> Tries | None:
    if tries is None or tries.failed + tries.earlier <= 1:
        return None
    if not tries.failed:
        return tries.model_copy(update={"earlier": tries.earlier - 1})
    return tries.model_copy(update={"failed": tries.failed - 1})


def _add_open(run: RunExport, changes: Overlay, graph: Graph, epoch: int, now_ms: int) -> None:
    """Let the events run that the step group was not done with."""
    done = {entry.key for entry in run.state if entry.key.startswith(state.DONE)}
    taken = {key for prefix in _work(run) for key, _ in changes.items(prefix)}
    for record, envelope in run.in_order():
        steps = graph.accepting.get(envelope.type, ()) if record.open else ()
        for step in steps:
            place = run.run_id, envelope.event_id, step.name
            is_done = state.done_prefix(record.topic, record.offset) + step.name.encode() in done
            is_for_it = not envelope.step or envelope.step in step.names
            if is_for_it and not is_done and state.suspended_key(*place) not in taken:
                entry = Suspended.of(record.delivered(run.run_id, 0), step.name)
                changes.put(state.suspended_key(*place), entry.resumed(epoch, now_ms).encode())


def _only(run: RunExport, changes: Overlay, graph: Graph, step: str, now_ms: int) -> None:
    """Let one step run, on the event of its last attempt, and nothing else."""
    events = [attempt.event_id for attempt in run.attempts() if attempt.step == step]
    if step not in graph.step_called:
        raise NotReplayable(run.run_id, f"its workflow has no step {printable.line(step)!r}")
    if not events:
        raise NotReplayable(run.run_id, f"its step {step} has not run")
    record = _event(run, events[-1])
    if record is None:
        reason = f"the event of its step {step} is in no topic any more, or the step is a join"
        raise NotReplayable(run.run_id, reason)
    for prefix in _work(run):
        changes.delete_all(prefix)
    key = state.suspended_key(run.run_id, events[-1], step)
    entry = Suspended.of(record.delivered(run.run_id, 0), step)
    epoch = Run.decode(changes.get(state.run_key(run.run_id)) or b"{}").epoch
    changes.put(key, entry.resumed(epoch, now_ms).encode())


def _event(run: RunExport, event_id: str) -> ExportedRecord | None:
    found = (record for record, envelope in run.in_order() if envelope.event_id == event_id)
    return next(found, None)


def _bring_back(run: RunExport, changes: Overlay, *, live: bool) -> None:
    """Give a step the answers again that it has refused, and what its calls have raised."""
    for key, value in list(changes.items(state.calls_prefix(run.run_id))):
        if state.is_set_aside(key):
            *place, call = key.decode().split("\0", 4)
            name = call.removeprefix(f"{calls.SET_ASIDE} ")
            if not (live and value.startswith(calls.FAILED)):
                changes.put("\0".join([*place, name]).encode(), value)
            changes.delete(key)


def _check(run: RunExport, changes: Overlay, graph: Graph) -> None:
    """Raise NotReplayable if nothing would run, or not here."""
    found = [entry for entry in _entries(run, changes) if not entry.topic.endswith(".runs")]
    if not found:
        told = " ".join(run.missing)
        way = '; name a step: replay(run, step="...")' if run.history else ""
        raise NotReplayable(run.run_id, f"its export has no work that is not done. {told}{way}")
    if all(entry.children for entry in found):
        reason = "its steps await runs of other workflows: replay one of those"
        raise NotReplayable(run.run_id, reason)
    for entry in found:
        if entry.step and entry.step not in graph.step_called:
            reason = f"the workflow class that was given has no step {printable.line(entry.step)!r}"
            raise NotReplayable(run.run_id, reason)


def _entries(run: RunExport, changes: Overlay) -> Iterable[Suspended]:
    return [Suspended.decode(value) for prefix in _work(run) for _, value in changes.items(prefix)]


def _work(run: RunExport) -> tuple[bytes, ...]:
    return (
        state.suspended_prefix(run.run_id),
        state.waiting_prefix(run.run_id),
        state.awaiting_prefix(run.run_id),
    )
