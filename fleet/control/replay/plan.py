"""What a replay is to do, as the audit topic has it: whoever goes on with it does the same."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from fleet.config.settings import Settings
from fleet.control import audit, workflows
from fleet.control.audit import Entry
from fleet.control.replay.selection import Filter, Judge
from fleet.records.errors import ExitCode, FleetError
from fleet.records.events import Event, type_name
from fleet.records.topics import Topics
from fleet.workflow import definition

if TYPE_CHECKING:
    from fleet.api.workflow import Workflow

#: Name of the command in audit records.
COMMAND = "replay"
RESUMED = "replay resume"


class NoEvent(FleetError):
    """Raised when a name is not that of an event of a workflow."""

    exit_code = ExitCode.REFUSED

    def __init__(self, name: str, known: Mapping[str, object]) -> None:
        listed = ", ".join(sorted(known))
        super().__init__(
            f"{name!r} names no event with a topic of its own; write WORKFLOW.EVENT"
            + (f", with one of {listed}" if listed else ", such as joke.StartEvent")
        )


class UnknownReplay(FleetError):
    """Raised when there is no replay to go on with."""

    exit_code = ExitCode.REFUSED

    def __init__(self, replay_id: str, topic: str) -> None:
        super().__init__(
            f"{topic} has no replay {replay_id!r}, so it has sent nothing: begin it anew, or see "
            "`fleet audit list` for the ids of those there are"
        )


@dataclass(frozen=True, slots=True)
class Target:
    """The events that are meant."""

    #: As it was given: `joke.StartEvent`.
    name: str
    workflow: "type[Workflow]"
    event: type[Event]

    @property
    def is_start(self) -> bool:
        """Whether it is what runs of the workflow begin with."""
        return self.event is definition.graph(self.workflow).start

    def topic(self, settings: Settings) -> str:
        """Return the topic of these events."""
        names = Topics(settings.prefix, self.workflow.workflow_name, self.workflow.group_name)
        return names.event(type_name(self.event))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One replay, in what JSON can carry."""

    id: str
    #: `WORKFLOW.EVENT`.
    target: str
    topic: str
    #: By partition: first offset, and the one after the last.
    spans: Mapping[int, tuple[int, int]]
    rules: Filter = field(default_factory=Filter)
    #: How many records are taken, by partition, as counted before.
    counts: Mapping[int, int] = field(default_factory=dict)
    to_topic: str = ""
    #: Of events that are to begin a run in its middle: what its context begins with.
    context: Mapping[str, Any] | None = None
    max_replays: int
    #: Events per second; None sets no limit.
    rate: float | None = None

    @property
    def total(self) -> int:
        """How many records are taken."""
        return sum(self.counts.values())

    def group(self, settings: Settings) -> str:
        """Return the consumer group whose offsets are the progress, and the transactional id."""
        return f"{settings.prefix}.replay.{self.id}"

    def judge(self, target: Target) -> Judge:
        """Return what decides about each record; raises UnreadableCondition."""
        return Judge(
            self.rules,
            event=None if self.to_topic else target.event,
            begins=target.is_start and self.context is None,
            max_replays=self.max_replays,
        )

    def details(self) -> dict[str, Any]:
        """Return it for an audit record."""
        return asdict(self)

    @classmethod
    def read(cls, details: Mapping[str, Any]) -> Self:
        """Read what `details` gave, from JSON."""
        rules = Filter(**{name: tuple(each) for name, each in details["rules"].items()})
        spans = {int(each): (first, end) for each, (first, end) in details["spans"].items()}
        counts = {int(each): count for each, count in details["counts"].items()}
        return cls(**{**details, "rules": rules, "spans": spans, "counts": counts})


def target(name: str) -> Target:
    """Return what `WORKFLOW.EVENT` means; raises NoEvent and what `workflows.find` raises."""
    first, _, last = name.rpartition(".")
    # Without an event `module:Class` may still have a dot, in the module's name.
    if not first or ":" in last:
        raise NoEvent(name, {})
    workflow = workflows.find(first)
    graph = definition.graph(workflow)
    if last not in graph.accepting:
        raise NoEvent(last, graph.accepting)
    return Target(name, workflow, graph.types[last])


async def store(settings: Settings, plan: Plan, workflow: str, reason: str) -> None:
    """Write the audit record that the replay can go on from; raises what `audit.record` raises."""
    await audit.record(
        settings, command=COMMAND, workflow=workflow, reason=reason, details=plan.details()
    )


async def find(settings: Settings, replay_id: str) -> tuple[Plan, Entry]:
    """Return a replay and its audit record; raise UnknownReplay and BrokerUnreachable."""
    for entry in await audit.entries(settings):
        if entry.command == COMMAND and entry.details.get("id") == replay_id:
            return Plan.read(entry.details), entry
    raise UnknownReplay(replay_id, f"{settings.prefix}.audit")
