"""A run as one document: everything that the topics and the state of its step group have of it."""

import time
from collections.abc import Callable, Iterable
from importlib import metadata

from pydantic import ValidationError

from fleet.control.runs import topic
from fleet.control.runs.log import RUNNING, Run
from fleet.control.runs.topic import NoSuchRun
from fleet.control.source import Source
from fleet.kafka import topic_reader
from fleet.records import envelope as envelopes
from fleet.records import outcomes, state
from fleet.records.envelope import BrokenEnvelope
from fleet.records.exported.run_export import ExportedEntry, ExportedRecord, RunExport
from fleet.records.lifecycle import Started, StepRecord
from fleet.records.log import Delivered
from fleet.records.position import Position
from fleet.workflow import definition

#: Kinds of entries whose keys go on with the run's id.
_OF_RUNS = (
    state.RUN,
    state.SEEN,
    state.END,
    state.CONTEXT,
    state.AWAITING_RESUME,
    state.SUSPENDED,
    state.WAITING,
    state.ANSWER,
    state.SUSPECT,
    state.SCOPE,
    state.ITEM,
    state.MEMBER,
    state.BUFFER_HEAD,
    state.BUFFERED,
    state.EDIT,
    state.CALL,
)


async def export(source: Source, run_id: str) -> RunExport:
    """Read everything about one run; raises NoSuchRun, and the errors of `topic.runs`.

    The state topic is read from its beginning, which takes longer the larger the state is.
    """
    log, _ = await topic.runs(source, [run_id])
    run = log.get(run_id)
    if run is None:
        raise NoSuchRun(run_id, source.topics.runs)
    reading = Reading(source, run)
    async with topic_reader.connected(source.settings) as reader:
        for topics, take in (
            (reading.logs, reading.take),
            # Last: what a record has become since it was read, its state says.
            ([source.topics.state], reading.take_entry),
        ):
            tps = [tp for name in topics for tp in topic_reader.partitions(name, [run.partition])]
            await reader.take_all(tps, take)
    return reading.document()


class Reading:
    """What was read of a run so far: first its records, then the state."""

    def __init__(self, source: Source, run: Run) -> None:
        self._source = source
        self._run = run
        self._graph = definition.graph(source.workflow)
        self._records: dict[str, list[Delivered]] = {}
        self._entries: dict[bytes, bytes] = {}
        self._positions: dict[str, Position] = {}
        self._prefixes = tuple(kind + run.id.encode() for kind in _OF_RUNS)

    @property
    def logs(self) -> list[str]:
        """The topics that have records of the run."""
        return [*self._inputs, self._source.topics.runs, self._source.topics.history]

    @property
    def _inputs(self) -> list[str]:
        topics = self._source.topics
        return [*(topics.event(name) for name in sorted(self._graph.accepting)), topics.inbox]

    def take(self, record: Delivered) -> None:
        """Take the next record of a topic."""
        if record.key == self._run.id.encode():
            self._records.setdefault(record.topic, []).append(record)

    def take_entry(self, record: Delivered) -> None:
        """Take the next record of the state; the last one of a key counts."""
        key = record.key or b""
        if key.startswith(state.POSITION) and record.value is not None:
            self._positions[key[len(state.POSITION) :].decode()] = Position.decode(record.value)
        if not self._is_wanted(key):
            return
        if record.value is None:
            self._entries.pop(key, None)
        else:
            self._entries[key] = record.value

    def document(self) -> RunExport:
        """Return what was read."""
        source, run, topics = self._source, self._run, self._source.topics
        events = [one for name in self._inputs for one in self._records.get(name, [])]
        return RunExport(
            fleet=metadata.version("fleet-workflows"),
            run_id=run.id,
            workflow=topics.workflow,
            group=topics.group,
            prefix=topics.prefix,
            workflow_class=f"{source.workflow.__module__}:{source.workflow.__qualname__}",
            partition=run.partition,
            exported_ms=round(time.time() * 1000),
            outcome=run.outcome,
            missing=list(self._missing()),
            events=_written(sorted(events, key=lambda one: one.appended_ms), self._is_open),
            lifecycle=_written(self._records.get(topics.runs, [])),
            history=_written(self._records.get(topics.history, [])),
            state=[
                ExportedEntry(key=key, value=self._entries[key]) for key in sorted(self._entries)
            ],
        )

    def _is_wanted(self, key: bytes) -> bool:
        if key.startswith(state.DONE):
            name, offset, *_ = key[len(state.DONE) :].split(b"\0")
            offsets = {record.offset for record in self._records.get(name.decode(), [])}
            return int(offset) in offsets
        prefix = next((one for one in self._prefixes if key.startswith(one)), None)
        # The id of another run may begin with this one.
        return prefix is not None and key[len(prefix) :][:1] in (b"", b"\0")

    def _is_open(self, record: Delivered) -> bool:
        position = self._positions.get(record.topic)
        if position is None:
            return True
        return record.offset >= position.next or record.offset in position.pending

    def _missing(self) -> Iterable[str]:
        run = self._run
        if run.outcome == RUNNING:
            yield "The run goes on: what it did while it was read may be missing."
        starts = [
            one for one in map(_started, self._records.get(self._source.topics.runs, [])) if one
        ]
        found = {
            _event_id(record) for name in self._inputs for record in self._records.get(name, [])
        }
        if not starts:
            yield "Its start is in no topic any more: retention removed it."
        elif starts[0].start_event_id not in found:
            yield "Its start event is in no topic any more: retention removed it."
        gone = len({step.event_id for step in self._steps() if step.event_id not in found})
        if gone:
            yield f"Retention has removed events of its steps: {gone:,}."
        if run.outcome == outcomes.COMPLETED:
            yield "The run has a result: its state was removed with its end."
        elif not any(key.startswith(state.RUN) for key in self._entries):
            yield "Its state is gone: FLEET_RESUME_DAYS have passed since its end."

    def _steps(self) -> Iterable[StepRecord]:
        """Yield the attempts of steps that an event began, and not a join."""
        for record in self._records.get(self._source.topics.history, []):
            try:
                attempt = StepRecord.decode(record.value or b"")
            except ValidationError:
                continue
            step = self._graph.step_called.get(attempt.step)
            if step is None or not (step.is_join or step.options.catches):
                yield attempt


def _written(
    records: Iterable[Delivered], is_open: Callable[[Delivered], bool] = lambda _: False
) -> list[ExportedRecord]:
    return [
        ExportedRecord(
            topic=record.topic,
            offset=record.offset,
            appended_ms=record.appended_ms,
            headers=record.headers,
            value=record.value or b"",
            open=is_open(record),
        )
        for record in records
    ]


def _started(record: Delivered) -> Started | None:
    try:
        if envelopes.parse(record.headers).type == Started.kind:
            return Started.model_validate_json(record.value or b"")
    except (BrokenEnvelope, ValidationError):
        pass
    return None


def _event_id(record: Delivered) -> str:
    try:
        return envelopes.parse(record.headers).event_id
    except BrokenEnvelope:
        return ""
