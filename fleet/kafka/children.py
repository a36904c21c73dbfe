"""
The workflows that steps run on Kafka: those with topics under the same prefix.

Their own workers run them. A run that is sent to topics which are not there, or do not fit
together, would wait for ever, so we look at them first, and again from time to time.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable

from fleet.config import logs
from fleet.config.settings import Settings
from fleet.engine.context.children import Place
from fleet.kafka import provision
from fleet.kafka.clients import BrokerUnreachable
from fleet.records.topics import Topics
from fleet.workflow import definition
from fleet.workflow.calling.children import ChildRun
from fleet.workflow.errors import WorkflowConfigurationError

_log = logs.get_logger("children")
#: For how long the topics of a workflow are taken for what they were, in seconds.
_FRESH_SECONDS = 60.0
#: The pause before the broker is asked again that did not answer, in seconds.
_RETRY_SECONDS = 1.0

#: Tells whether the app carries a workflow, by its name.
Carries = Callable[[str], bool]


class NotCarried(WorkflowConfigurationError):
    """Raised by `ctx.run_workflow` on a Faust app that does not carry the other workflow.

    What to do: Make both with the same app before it starts: `Child(app=app)`, `Parent(app=app)`.
    """

    def __init__(self, workflow: str, of_class: str) -> None:
        super().__init__(
            f"the app carries no workflow {workflow}; write {of_class}(app=app) beside the other "
            "one, before the app starts"
        )


class WorkflowsOnKafka:
    """See `fleet.engine.context.children.Places`."""

    def __init__(self, settings: Settings, prefix: str, carries: Carries | None) -> None:
        self._settings = settings
        self._prefix = prefix
        self._carries = carries
        #: When the topics of a workflow were looked at, and their partition count.
        self._seen: dict[str, tuple[float, int]] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def find(self, run: ChildRun) -> Place:
        """Return where the workflow of a run is.

        Raises TopicsMissing, TopicsMismatched and NotCarried.
        """
        name = run.name
        if self._carries is not None and not self._carries(name):
            raise NotCarried(name, type(run.workflow).__name__)
        async with self._turns[name]:
            seen, partitions = self._seen.get(name, (0.0, 0))
            if not partitions or time.monotonic() - seen > _FRESH_SECONDS:
                partitions = await self._look(run)
                self._seen[name] = time.monotonic(), partitions
        return Place(f"{self._prefix}.{name}", partitions)

    async def _look(self, run: ChildRun) -> int:
        topics = Topics(self._prefix, run.name, run.workflow.group_name)
        graph = definition.graph(type(run.workflow))
        while True:
            try:
                return await provision.ensure(topics, graph, self._settings)
            except BrokerUnreachable as away:
                _log.warning("broker_unreachable", workflow=run.name, error=str(away))
                await asyncio.sleep(_RETRY_SECONDS)
