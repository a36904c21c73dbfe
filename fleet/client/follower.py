"""
What a caller makes of the records that it reads: what to show, and which end is its run's.

The log decides. A terminal record counts for a run once the answer to its own start event was read:
`started`, or a `known` that says where the end is. So a repeated run id gets the effective end and
no other.
"""

import math
from functools import partial

from fleet.client import context_reader
from fleet.client.open_run import OpenRun
from fleet.client.streams import beginning
from fleet.client.transport import Transport
from fleet.client.waits import Waits
from fleet.client.worker_watch import WorkerWatch
from fleet.config import logs
from fleet.records import effective_end, lifecycle
from fleet.records import envelope as envelopes
from fleet.records.effective_end import SoFar
from fleet.records.envelope import BrokenEnvelope, Envelope
from fleet.records.foreign import FOREIGN, told
from fleet.records.lifecycle import (
    Cancelled,
    Completed,
    Failed,
    Known,
    Lifecycle,
    Started,
    TimedOut,
)
from fleet.records.log import Delivered
from fleet.records.topics import Topics
from fleet.workflow.calling import results
from fleet.workflow.calling.results import Outcome
from fleet.workflow.definition import Definition
from fleet.workflow.errors import EndGone, RunConflict, WorkflowRuntimeError

_REMEMBERED_ENDS = 100_000
_log = logs.get_logger("caller")
_TERMINAL = frozenset(record.kind.encode() for record in (Completed, Failed, Cancelled, TimedOut))
_BEGUN = frozenset(record.kind.encode() for record in (Started, Known))


class Follower:
    """Reads `runs` and `stream` for the waits of one caller."""

    def __init__(
        self,
        workflow: type[Definition],
        topics: Topics,
        transport: Transport,
        workers: WorkerWatch,
        waits: Waits,
    ) -> None:
        self._workflow = workflow
        self._topics = topics
        self._transport = transport
        self._workers = workers
        self._waits = waits
        #: Offsets of the newest terminal records, of all runs: one may be the end of a run that is
        #: only about to be started here.
        self._ends: dict[str, int] = {}

    def take(self, record: Delivered) -> None:
        """Take a record of `runs` or `stream`; pass over records of runs without a wait."""
        run_id = (record.key or b"").decode(errors="replace")
        if record.topic == self._topics.runs:
            self._remember(run_id, record)
        for run in self._waits.of(run_id):
            if record.topic == self._topics.runs and run.held is not None:
                run.held.append(record)
            elif record.topic == self._topics.runs:
                self._take(run, record)
            else:
                run.handler.stream.take(record)

    def _remember(self, run_id: str, record: Delivered) -> None:
        if dict(record.headers).get("fleet-type") in _TERMINAL:
            self._ends.setdefault(run_id, record.offset)
            if len(self._ends) > _REMEMBERED_ENDS:
                del self._ends[next(iter(self._ends))]

    def _take(self, run: OpenRun, record: Delivered) -> None:
        """Take a record of the run; one that cannot be read ends this wait and no other."""
        try:
            envelope = envelopes.parse(record.headers)
        except BrokenEnvelope:
            # Another producer's; the run's group writes a dead letter of it.
            return
        try:
            self._follow(run, record, envelope)
        except FOREIGN as failure:
            error = WorkflowRuntimeError(
                f"offset {record.offset} of {record.topic} cannot be read ({told(failure)})"
            )
            self._waits.close(run, Outcome(error=error))

    def _follow(self, run: OpenRun, record: Delivered, envelope: Envelope) -> None:
        try:
            happening = lifecycle.decode(envelope.type, record.value or b"")
        except lifecycle.UnknownLifecycle:
            # A newer worker's kind of record; every kind that ends this run is known here.
            return
        match happening:
            case Started(start_event_id=run.start_event_id) if not run.answered:
                self._follow_started(run, happening)
                self._heed_queue(run, queued=happening.queued)
            case Started(queued=False) if run.queued:
                self._heed_queue(run, queued=False)
            case Known(start_event_id=run.start_event_id) if not run.answered:
                run.epoch = envelope.epoch
                self._follow_known(run, happening)
            case Failed(event_id=run.start_event_id, step="") if not run.answered:
                # The start event itself: a run that could not begin has no `started`.
                self._end(run, happening, envelope.epoch)
            case _ if happening.terminal:
                so_far = SoFar(run.epoch, read_from=run.end_from)
                if effective_end.counts(envelope.epoch, record.offset, so_far):
                    self._end(run, happening, envelope.epoch)

    def _follow_started(self, run: OpenRun, started: Started) -> None:
        """Look for the end from here on, or before `started` if it may stand there."""
        run_id = run.handler.run_id
        # The run is this start's, so it shows nothing before.
        run.handler.stream.begins()
        self._answer(run)
        run.handler.judged()
        early = self._ends.get(run_id, -1)
        if run.known_elsewhere and started.read_from < self._transport.followed_from(run_id):
            # Even if an end was read: it need not be the first.
            self._look_back_soon(run, started.read_from)
        elif early >= started.read_from:
            self._look_back_soon(run, early)
        else:
            run.count_from(started.read_from)

    def _follow_known(self, run: OpenRun, known: Known) -> None:
        self._answer(run)
        run.handler.was_known = True
        if known.conflict:
            self._waits.close(run, Outcome(error=RunConflict(run.handler.run_id)))
            return
        run.handler.judged()
        run.handler.stream.begins(partial(beginning.find, self._transport, run.handler.run_id))
        self._heed_queue(run, queued=known.queued)
        if known.end_offset is None:
            self._look_back_soon(run, known.read_from)
        else:
            self._look_back_soon(run, known.end_offset, is_end=True)

    def _heed_queue(self, run: OpenRun, *, queued: bool) -> None:
        """Let the run's time count from when it has a place."""
        if queued:
            run.deadline = math.inf
            self._waits.patience.end(run)
        elif run.queued:
            self._waits.patience.begin(run)
        run.queued = queued

    def _answer(self, run: OpenRun) -> None:
        run.answered = True
        self._workers.answered(run)

    def _look_back_soon(self, run: OpenRun, offset: int, *, is_end: bool = False) -> None:
        run.hold()
        self._waits.work(run, partial(self._look_back, run, offset, is_end=is_end))

    async def look_for_end(self, run: OpenRun, offset: int, *, is_end: bool = False) -> bool:
        """Follow a run that others began: its end stands at *offset*, or there or later.

        Tells whether the log says there that the run has begun.
        """
        run.answered = True
        run.hold()
        return await self._look_back(run, offset, is_end=is_end)

    async def _look_back(self, run: OpenRun, offset: int, *, is_end: bool) -> bool:
        found = await self._transport.look_back(run.handler.run_id, offset)
        if is_end and all(record.offset != offset for record in found):
            run.handler.has_ended = True
            self._waits.close(run, Outcome(error=EndGone(run.handler.run_id)))
        records = (*found, *run.count_from(offset))
        for record in records:
            self._take(run, record)
        return any(dict(record.headers).get("fleet-type") in _BEGUN for record in records)

    def _end(self, run: OpenRun, terminal: Lifecycle, epoch: int) -> None:
        if run.handler.has_ended:
            return
        run.end_epoch = epoch
        run.handler.stream.begins()
        run.handler.judged()
        run.handler.has_ended = True
        run.handler.outcome = terminal.kind
        if isinstance(terminal, Completed):
            run.handler.final_context = context_reader.of(terminal)
        self._waits.close(run, results.of(self._workflow, terminal, run.handler.run_id))
