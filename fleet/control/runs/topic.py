"""Reads a workflow's runs, and everything that its topics hold about one of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import ValidationError

from fleet.control.dead import letters as dead_letters
from fleet.control.dead.letters import Letter
from fleet.control.runs.log import Run, RunLog
from fleet.control.source import Source
from fleet.kafka import topic_reader
from fleet.kafka.topic_reader import Positions, TopicReader
from fleet.records import envelope as envelopes
from fleet.records.envelope import BrokenEnvelope
from fleet.records.errors import ExitCode, FleetError
from fleet.records.lifecycle import Completed, StepRecord
from fleet.records.log import Delivered
from fleet.records.partitions import partition_of
from fleet.workflow import definition

#: How much older than its `started` a run's first step record may be: brokers' clocks differ.
CLOCKS_MS = 300_000


class NoSuchRun(FleetError):
    """Raised when the log has no record of a run.

    What to do: Check the id with `fleet runs list`. A run is there once a worker has begun it, and
    as long as the topic keeps it.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, run_id: str, topic: str) -> None:
        super().__init__(
            f"{topic} has no run {run_id!r}: it has not begun (is a worker running?), is older "
            "than the topic's retention, or has another id; `fleet runs list` shows all runs"
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One attempt of a step, with the epoch of the run."""

    epoch: int
    record: StepRecord


@dataclass(frozen=True, slots=True)
class Value:
    """An event of a run, with its value."""

    topic: str
    offset: int
    at: float
    event_id: str
    parent_id: str
    type: str
    value: str


@dataclass(slots=True)
class RunDetails:
    """Everything about one run."""

    run: Run
    steps: list[Step] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    #: The events and the result, if wanted.
    values: list[Value] = field(default_factory=list)


async def runs(source: Source, only: Iterable[str] | None = None) -> tuple[RunLog, Positions]:
    """Read the runs of a workflow, or some of them; return them, and how far the log was read.

    Raises BrokerUnreachable, TopicsMissing and TopicsMismatched.
    """
    count = await source.partitions()
    wanted = None if only is None else list(only)
    numbers = range(count) if wanted is None else {partition_of(run_id, count) for run_id in wanted}
    log = RunLog(only=wanted)
    async with topic_reader.connected(source.settings) as reader:
        tps = topic_reader.partitions(source.topics.runs, sorted(numbers))
        return log, await reader.take_all(tps, log.take)


async def details(source: Source, run_id: str, *, with_values: bool) -> RunDetails:
    """Read everything about one run; raises NoSuchRun, and the errors of `runs`."""
    log, _ = await runs(source, [run_id])
    run = log.get(run_id)
    if run is None:
        raise NoSuchRun(run_id, source.topics.runs)
    found = RunDetails(run)
    topics, types = source.topics, sorted(definition.graph(source.workflow).accepting)
    since_ms = round(run.started_at * 1000) - CLOCKS_MS if run.started_at else None
    async with topic_reader.connected(source.settings) as reader:
        await _read(reader, [topics.history, topics.dead], found, since_ms)
        if with_values:
            # A start event may have waited for a worker for long: no time limit here.
            events = [*map(topics.event, types), topics.inbox, topics.runs]
            await _read(reader, events, found, None)
    found.steps.sort(key=lambda step: step.record.started)
    found.values.sort(key=lambda value: value.at)
    return found


async def _read(
    reader: TopicReader, topics: Iterable[str], details: RunDetails, since_ms: int | None
) -> None:
    key = details.run.id.encode()

    def take(record: Delivered) -> None:
        if record.key == key:
            _add(details, record)

    tps = [tp for topic in topics for tp in topic_reader.partitions(topic, [details.run.partition])]
    await reader.take_all(tps, take, since_ms)


def _add(details: RunDetails, record: Delivered) -> None:
    if letter := dead_letters.parse(record):
        details.letters.append(letter)
        return
    try:
        envelope = envelopes.parse(record.headers)
        if envelope.type == StepRecord.kind and record.topic.endswith(".history"):
            step = StepRecord.decode(record.value or b"")
            details.steps.append(Step(envelope.epoch, step))
        elif not record.topic.endswith(".runs") or envelope.type == Completed.kind:
            details.values.append(_value(record, envelope))
    except (BrokenEnvelope, ValidationError):
        return


def _value(record: Delivered, envelope: envelopes.Envelope) -> Value:
    type_name, value = envelope.type, (record.value or b"").decode(errors="replace")
    if record.topic.endswith(".runs"):
        result = Completed.model_validate_json(record.value or b"")
        type_name, value = result.event_type, result.event
    return Value(
        topic=record.topic,
        offset=record.offset,
        at=record.appended_ms / 1000,
        event_id=envelope.event_id,
        parent_id=envelope.parent_id,
        type=type_name,
        value=value,
    )
