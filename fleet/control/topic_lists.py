"""The topics of a workflow as a list, and the creation of missing ones."""

import asyncio
from dataclasses import dataclass

from fleet.config.settings import Settings
from fleet.kafka import provision
from fleet.kafka.provision import Plan, TopicNotCreated
from fleet.kafka.topic_settings import COMPACTED
from fleet.records.errors import ExitCode, FleetError
from fleet.records.topics import Topics
from fleet.workflow import definition
from fleet.workflow.workflow import Workflow

#: Topic configurations that decide what a topic keeps and for how long.
KEY_CONFIGS = (
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "message.timestamp.type",
    *(name for name, _ in COMPACTED if name not in {"cleanup.policy", "message.timestamp.type"}),
)
#: How often to look whether the broker shows the topics that it has created, and the pause between
#: two looks in seconds.
_LOOKS = 100
_LOOK_SECONDS = 0.1
_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000


class PartitionsFixed(FleetError):
    """Raised when the workflow's topics do not have the partition count that you asked for.

    What to do: Leave out `--partitions`, or begin under another `FLEET_PREFIX`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, workflow: str, there: int, asked: int) -> None:
        super().__init__(
            f"the topics of {workflow} have {there} partitions, and all must have the same number: "
            f"omit --partitions {asked}, or use another FLEET_PREFIX for new topics"
        )


@dataclass(frozen=True, slots=True)
class Line:
    """One topic."""

    topic: str
    #: `present` or `missing`.
    status: str
    #: How many it has, or will have after its creation.
    partitions: int
    config: dict[str, str]
    purpose: str

    @property
    def keeps(self) -> str:
        """How long a record stays, in words."""
        if "compact" in self.config.get("cleanup.policy", ""):
            return "the latest of each key"
        return _duration(int(self.config.get("retention.ms", "-1")))


async def planned(workflow: type[Workflow], settings: Settings) -> Plan:
    """Compare the topics that *workflow* needs with those of the broker.

    Raises BrokerUnreachable and TopicsMismatched.
    """
    topics = _topics(workflow, settings)
    return await provision.plan(topics, definition.graph(workflow), settings, with_audit=True)


async def apply(plan: Plan, workflow: type[Workflow], settings: Settings) -> None:
    """Create the missing topics of a plan; return when the broker shows them.

    A broker acknowledges a topic a moment before it shows it. A worker that starts in between does
    not see it. Raises TopicNotCreated, BrokerUnreachable and TopicsMismatched.
    """
    await provision.apply(plan, settings)
    for _ in range(_LOOKS):
        missing = (await planned(workflow, settings)).missing
        if not missing:
            return
        await asyncio.sleep(_LOOK_SECONDS)
    raise TopicNotCreated(missing[0].name, "it acknowledged the topic, and does not show it")


def check_partitions(plan: Plan, workflow: type[Workflow], asked: int | None) -> None:
    """Raise PartitionsFixed if topics exist with another count than *asked*."""
    if asked is not None and plan.has_some and plan.partitions != asked:
        raise PartitionsFixed(workflow.workflow_name, plan.partitions, asked)


def lines(plan: Plan, workflow: type[Workflow], settings: Settings) -> list[Line]:
    """Return the topics of a plan, in the order of the workflow's own list."""
    purposes = _purposes(_topics(workflow, settings), workflow)
    return [_line(plan, wanted, purposes[wanted.name]) for wanted in plan.wanted]


def _line(plan: Plan, wanted: provision.Topic, purpose: str) -> Line:
    found = plan.found.get(wanted.name)
    config = found.config if found else dict(wanted.config)
    return Line(
        topic=wanted.name,
        status="present" if found else "missing",
        partitions=found.partitions if found else wanted.partitions or plan.partitions,
        config={name: config[name] for name in KEY_CONFIGS if name in config},
        purpose=purpose,
    )


def _purposes(topics: Topics, workflow: type[Workflow]) -> dict[str, str]:
    events = {
        topics.event(name): f"events of type {name}"
        for name in definition.graph(workflow).accepting
    }
    return events | {
        topics.runs: "starts and ends of runs",
        topics.inbox: "events sent to a run from outside",
        topics.history: "attempts of steps, with their times",
        topics.stream: "events that steps show to the caller",
        topics.dead: "records that could not be processed",
        topics.state: "changelog of the group's state",
        topics.audit: "changes made with the command line",
    }


def _topics(workflow: type[Workflow], settings: Settings) -> Topics:
    return Topics(settings.prefix, workflow.workflow_name, workflow.group_name)


def _duration(milliseconds: int) -> str:
    if milliseconds < 0:
        return "forever"
    if milliseconds >= _DAY_MS:
        return f"{milliseconds / _DAY_MS:.4g} days"
    return f"{milliseconds / _HOUR_MS:.4g} hours"
