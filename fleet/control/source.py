"""Which step group a command is about, and what follows from that."""

from dataclasses import dataclass

from fleet.config.settings import Settings
from fleet.kafka import provision
from fleet.kafka.provision import TopicsMissing
from fleet.records.topics import Topics
from fleet.workflow import definition
from fleet.workflow.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Source:
    """A step group of a workflow on a broker."""

    workflow: type[Workflow]
    settings: Settings
    #: Name of the step group; None is the workflow's own one.
    group: str | None = None

    @property
    def topics(self) -> Topics:
        """The topics of the step group."""
        group = self.group or self.workflow.group_name
        return Topics(self.settings.prefix, self.workflow.workflow_name, group)

    @property
    def keep_days(self) -> float:
        """For how long the state of a run that ended without a result is kept."""
        return max(self.settings.resume_days, self.settings.dedupe_days)

    async def partitions(self) -> int:
        """Return how many partitions the topics have.

        Raises BrokerUnreachable and TopicsMismatched, and TopicsMissing if some are not there.
        """
        made = await provision.plan(self.topics, definition.graph(self.workflow), self.settings)
        if made.missing:
            raise TopicsMissing((topic.name for topic in made.missing), self.topics.workflow)
        return made.partitions
