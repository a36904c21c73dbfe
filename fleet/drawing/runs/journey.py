"""
The way of one run through the picture of its workflow: from its history, without a second layout.

The history says which step ran for which event, and which types it sent. The events say which step
each of them came from, so the branch that failed is followed back to the start.
"""

from collections import Counter
from dataclasses import dataclass, field

from fleet.drawing.picture import Arrow, Kind, Picture
from fleet.records import outcomes, state
from fleet.records.envelope import Envelope
from fleet.records.events import type_name
from fleet.records.exported.run_export import RunExport
from fleet.records.lifecycle import RETURNED, Completed, Failed, Started, StepRecord
from fleet.workflow import definition
from fleet.workflow.failing.step_failed import StepFailedEvent
from fleet.workflow.steps import Step

_FAILURE = type_name(StepFailedEvent)
#: Kinds of entries of work that is not done.
_SUSPENDED = (state.AWAITING_RESUME, state.SUSPENDED, state.WAITING)


@dataclass(slots=True)
class Journey:
    """Where a run went. Nodes and arrows are those of its picture."""

    run: RunExport
    picture: Picture
    #: Every attempt, in the order in which they began.
    attempts: list[StepRecord] = field(default_factory=list)
    #: How many events went along an arrow.
    taken: Counter[Arrow] = field(default_factory=Counter)
    #: What the run has reached.
    reached: set[int] = field(default_factory=set)
    #: Steps with work that is not done.
    unfinished: set[int] = field(default_factory=set)
    #: The branch that failed, from the start on.
    failed: set[int] = field(default_factory=set)
    failed_arrows: set[Arrow] = field(default_factory=set)
    #: Where that branch ends: the step that failed, or the event that no step could take.
    broken: int | None = None
    #: When the run began and ended, in unix milliseconds; 0: that is not known.
    began_ms: int = 0
    ended_ms: int = 0
    #: What the run failed with.
    failure: Failed | None = None

    def of_step(self, node: int) -> list[StepRecord]:
        """Return the attempts of the step at *node*."""
        step = self.picture.nodes[node].subject
        names = step.names if isinstance(step, Step) else ()
        return [attempt for attempt in self.attempts if attempt.step in names]


def of(run: RunExport, picture: Picture) -> Journey:
    """Return the way of *run*, as far as its export has it."""
    return _Tracing(run, picture).traced()


class _Tracing:
    def __init__(self, run: RunExport, picture: Picture) -> None:
        self._found = Journey(run, picture)
        self._run = run
        self._graph = definition.graph(picture.workflow)
        self._node_of: dict[str | Kind, int] = {}
        for number, node in enumerate(picture.nodes):
            name = node.subject.name if isinstance(node.subject, Step) else node.name
            is_marker = node.subject is None and node.kind is not Kind.DEAD_END
            self._node_of.setdefault(node.kind if is_marker else self._key(node.kind, name), number)
        self._envelopes = {envelope.event_id: envelope for _, envelope in run.in_order()}
        self._arrows = frozenset(picture.arrows)

    def traced(self) -> Journey:
        found = self._found
        found.attempts = self._run.attempts()
        self._take_life()
        self._take_events()
        self._take_attempts()
        self._take_unfinished()
        found.reached |= {node for arrow in found.taken for node in arrow}
        if found.failure is not None:
            self._trace(found.failure.event_id, found.failure.step)
            found.reached |= found.failed
        return found

    @staticmethod
    def _key(kind: Kind, name: str) -> str:
        return f"step {name}" if kind is Kind.STEP else name

    def _event(self, name: str) -> int | None:
        return self._node_of.get(name)

    def _step(self, name: str) -> int | None:
        step = self._graph.step_called.get(name)
        return self._node_of.get(f"step {step.name}") if step is not None else None

    def _count(self, source: int | None, target: int | None, times: int = 1) -> bool:
        """Count events along an arrow, if the picture has it."""
        if source is None or target is None or (source, target) not in self._arrows:
            return False
        self._found.taken[source, target] += times
        return True

    # -- what is counted ------------------------------------------------------------------------

    def _take_life(self) -> None:
        found, done = self._found, self._node_of.get(Kind.DONE)
        for record, _, happening in self._run.happenings():
            match happening:
                case Started():
                    found.began_ms = found.began_ms or record.appended_ms
                case Completed(event_type=name):
                    self._count(self._event(name), done)
                case Failed() if self._run.outcome == outcomes.FAILED:
                    found.failure = happening
            if happening.terminal:
                found.ended_ms = record.appended_ms
        if self._run.outcome == outcomes.RUNNING:
            found.ended_ms = 0

    def _take_events(self) -> None:
        """Count what came from outside: the start, and answers."""
        outside = self._node_of.get(Kind.OUTSIDE)
        for envelope in self._envelopes.values():
            node = self._event(envelope.type)
            if node is not None:
                self._found.reached.add(node)
            if not envelope.parent_id and not self._count(0, node):
                self._count(outside, node)

    def _take_attempts(self) -> None:
        runs = {(attempt.step, attempt.event_id): attempt for attempt in self._found.attempts}
        for attempt in runs.values():
            self._take_step(attempt)
        for attempt in self._found.attempts:
            if attempt.outcome == RETURNED:
                self._take_sent(attempt)
            elif _FAILURE in attempt.sent:
                handler = self._graph.handler_of.get(attempt.step)
                target = self._step(handler.name) if handler is not None else None
                self._count(self._step(attempt.step), target)

    def _take_step(self, attempt: StepRecord) -> None:
        node = self._step(attempt.step)
        if node is None:
            return
        self._found.reached.add(node)
        step = self._graph.step_called[attempt.step]
        if step.is_join and attempt.event_id not in self._envelopes:
            self._take_join(node, step)
        else:
            self._count(self._event(attempt.event_type), node)

    def _take_join(self, node: int, step: Step) -> None:
        """Count every event that a join may have had; nothing says which it took together."""
        for kind in step.accepts:
            source, name = self._event(type_name(kind)), type_name(kind)
            if source is not None and (source, node) not in self._found.taken:
                count = sum(envelope.type == name for envelope in self._envelopes.values())
                self._count(source, node, max(count, 1))

    def _take_sent(self, attempt: StepRecord) -> None:
        node = self._step(attempt.step)
        for name, times in Counter(attempt.sent).items():
            target = self._event(name)
            self._count(node, target, times)
            if target is not None:
                self._found.reached.add(target)
                self._count(target, self._node_of.get(Kind.OUTSIDE), times)
        if node is not None and not attempt.sent:
            ends = [to for to in self._found.picture.after(node) if self._is_dead_end(to)]
            self._count(node, ends[0] if ends else None)

    def _is_dead_end(self, node: int) -> bool:
        return self._found.picture.nodes[node].kind is Kind.DEAD_END

    def _take_unfinished(self) -> None:
        for entry in self._run.state:
            if entry.key.startswith(_SUSPENDED):
                node = self._step(entry.key.decode().split("\0")[-1])
                if node is not None:
                    self._found.unfinished.add(node)

    # -- the branch that failed -----------------------------------------------------------------

    def _trace(self, event_id: str, step: str) -> None:
        """Follow the branch back from *step*, which failed on an event; empty: the event did."""
        found, node, seen = self._found, self._step(step), set[str]()
        if node is None and (failed := self._envelopes.get(event_id)) is not None:
            node = self._event(failed.type)
        found.broken = node
        if node is not None:
            found.failed.add(node)
        while (envelope := self._envelopes.get(event_id)) and event_id not in seen:
            seen.add(event_id)
            event = self._event(envelope.type)
            self._fail(event, node)
            node = self._sender(envelope)
            self._fail(node if envelope.parent_id else 0, event)
            event_id = envelope.parent_id

    def _fail(self, source: int | None, target: int | None) -> None:
        found = self._found
        found.failed |= {one for one in (source, target) if one is not None}
        if source is not None and target is not None and (source, target) in self._arrows:
            found.failed_arrows.add((source, target))

    def _sender(self, envelope: Envelope) -> int | None:
        """Return the step that an event came from."""
        for attempt in self._found.attempts:
            if attempt.event_id == envelope.parent_id and envelope.type in attempt.sent:
                return self._step(attempt.step)
        return None
