"""
What a replay is to do: the named events, the conditions and the spans.

The audit topic keeps the plan, so a replay that continues does the same.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Self

from fleet.config.settings import Settings
from fleet.control import audit, syntax, workflows
from fleet.control.audit import Entry
from fleet.records import paths
from fleet.records.errors import ExitCode, FleetError
from fleet.records.events import Event, type_name
from fleet.records.topics import Topics
from fleet.workflow import definition
from fleet.workflow.workflow import Workflow

#: Name of the command in audit records.
COMMAND = "replay"
RESUMED = "replay resume"


class NoSuchEvent(FleetError):
    """Raised when a name is not the name of a workflow's event.

    What to do: Write `WORKFLOW.EVENT`, with an event that a step takes, such as `joke.StartEvent`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, name: str, known: Mapping[str, object]) -> None:
        listed = ", ".join(sorted(known))
        super().__init__(
            f"{name!r} is not an event with a topic of its own; write WORKFLOW.EVENT"
            + (f", with one of {listed}" if listed else ", such as joke.StartEvent")
        )


class UnknownReplay(FleetError):
    """Raised when no replay with this id can continue.

    What to do: Begin the replay from its start, or find the id with `fleet audit list`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, replay_id: str, topic: str) -> None:
        super().__init__(
            f"{topic} has no replay {replay_id!r}, so it has sent nothing: start a new one, or see "
            "`fleet audit list` for the ids of all replays"
        )


class UnreadableCondition(FleetError):
    """Raised when a text is not a condition on a field.

    What to do: Write `field=value`, or `field:=JSON` for exactly that value.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(
            f"--where {text!r} {reason}; write field=value, or field:=JSON for exactly that value; "
            "for a field of a field write a dotted path, as in customer.country=ES"
        )


class UnreadablePlace(FleetError):
    """Raised when a text is not an offset.

    What to do: Write `PARTITION:OFFSET`, or `OFFSET` for every partition.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, option: str, text: str) -> None:
        super().__init__(
            f"{option} {text!r} is not an offset; write PARTITION:OFFSET, or OFFSET for every "
            "partition"
        )


@dataclass(frozen=True, slots=True)
class Target:
    """The events to replay."""

    #: As it was given: `joke.StartEvent`.
    name: str
    workflow: type[Workflow]
    event: type[Event]

    @property
    def is_start(self) -> bool:
        """Whether runs of the workflow begin with it."""
        return self.event is definition.graph(self.workflow).start

    def topic(self, settings: Settings) -> str:
        """Return the topic of these events."""
        names = Topics(settings.prefix, self.workflow.workflow_name, self.workflow.group_name)
        return names.event(type_name(self.event))


@dataclass(frozen=True, slots=True)
class Condition:
    """A value that a field of the event must have."""

    path: tuple[str, ...]
    #: The field must have one of them: a text as it is, or its value as JSON.
    values: tuple[Any, ...]

    def holds(self, fields: Any) -> bool:
        """Tell whether an event with these *fields* meets it."""
        found = paths.descend(fields, self.path)
        return any(_same(found, value) for value in self.values)


@dataclass(frozen=True, slots=True)
class Place:
    """An offset, in one partition or in every one."""

    offset: int
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records to take, wherever they are."""

    #: As they were given.
    where: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()

    @property
    def conditions(self) -> list[Condition]:
        """The conditions on fields; raises UnreadableCondition."""
        return [condition(text) for text in self.where]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which part of the topic to take."""

    since: datetime | None = None
    #: Exclusive.
    until: datetime | None = None
    first: tuple[Place, ...] = ()
    #: Inclusive.
    last: tuple[Place, ...] = ()
    #: At most this many records, the oldest first.
    limit: int | None = None

    @property
    def partitions(self) -> set[int]:
        """The partitions that are named."""
        named = {place.partition for place in (*self.first, *self.last)}
        return {partition for partition in named if partition is not None}

    def __bool__(self) -> bool:
        return any((self.since, self.until, self.first, self.last, self.limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One replay, in values that JSON can hold."""

    id: str
    #: `WORKFLOW.EVENT`.
    target: str
    topic: str
    #: By partition: first offset, and the one after the last.
    spans: Mapping[int, tuple[int, int]]
    rules: Filter = field(default_factory=Filter)
    #: How many records it takes, by partition, as counted before.
    counts: Mapping[int, int] = field(default_factory=dict)
    to_topic: str = ""
    #: The first values of the context, for events that begin a run in its middle.
    context: Mapping[str, Any] | None = None
    max_replays: int
    #: Events per second; None sets no limit.
    rate: float | None = None

    @property
    def total(self) -> int:
        """How many records it takes."""
        return sum(self.counts.values())

    def group(self, settings: Settings) -> str:
        """Return its consumer group, which keeps its positions; also its transactional id."""
        return f"{settings.prefix}.replay.{self.id}"

    def details(self) -> dict[str, Any]:
        """Return the plan for an audit record."""
        return asdict(self)

    @classmethod
    def read(cls, details: Mapping[str, Any]) -> Self:
        """Read a plan from an audit record's details."""
        rules = Filter(**{name: tuple(given) for name, given in details["rules"].items()})
        spans = {int(number): (first, end) for number, (first, end) in details["spans"].items()}
        counts = {int(number): count for number, count in details["counts"].items()}
        return cls(**{**details, "rules": rules, "spans": spans, "counts": counts})


def target(name: str) -> Target:
    """Return the events called *name*; raises NoSuchEvent, and the errors of `workflows.find`."""
    first, _, last = name.rpartition(".")
    # Without an event `module:Class` may still have a dot, in the module's name.
    if not first or ":" in last:
        raise NoSuchEvent(name, {})
    workflow = workflows.find(first)
    graph = definition.graph(workflow)
    if last not in graph.accepting:
        raise NoSuchEvent(last, graph.accepting)
    return Target(name, workflow, graph.types[last])


def condition(text: str) -> Condition:
    """Read `field=value` or `field:=JSON`; raise UnreadableCondition."""
    name, value, is_json = syntax.assignment(text) or ("", "", False)
    path = tuple(name.split("."))
    if not all(path):
        raise UnreadableCondition(text, "has no field and value")
    try:
        found = syntax.json_value(value)
    except ValueError as failure:
        if is_json:
            raise UnreadableCondition(text, f"has no JSON after ':=' ({failure})") from None
        return Condition(path, (value,))
    return Condition(path, (found,) if is_json else (value, found))


def place(text: str, option: str) -> Place:
    """Read `PARTITION:OFFSET` or `OFFSET`; raise UnreadablePlace."""
    found = syntax.place(text)
    if found is None:
        raise UnreadablePlace(option, text)
    partition, offset = found
    return Place(offset, partition)


async def store(settings: Settings, plan: Plan, workflow: str, reason: str) -> None:
    """Write the audit record of a replay; raises the errors of `audit.record`."""
    await audit.record(
        settings, command=COMMAND, workflow=workflow, reason=reason, details=plan.details()
    )


async def find(settings: Settings, replay_id: str) -> tuple[Plan, Entry]:
    """Return a replay and its audit record; raises UnknownReplay and BrokerUnreachable."""
    for entry in await audit.entries(settings):
        if entry.command == COMMAND and entry.details.get("id") == replay_id:
            return Plan.read(entry.details), entry
    raise UnknownReplay(replay_id, f"{settings.prefix}.audit")


def _same(found: Any, wanted: Any) -> bool:
    # To Python 1 is True; to JSON it is not.
    return found == wanted and isinstance(found, bool) == isinstance(wanted, bool)
