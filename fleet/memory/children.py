"""
The workflows that steps run in memory: workers in the same process, on the same log.

Each workflow object has topics of its own. A class that a step names is run by the first object of
it that is there.
"""

from collections.abc import Callable

from fleet.engine.context.children import Place
from fleet.records.topics import Topics
from fleet.workflow.calling.children import ChildRun
from fleet.workflow.definition import Definition

#: Begins to run a workflow on the log, in these topics.
Begin = Callable[[Definition, Topics], None]


class InProcessWorkflows:
    """See `fleet.engine.context.children.Places`: those on one in-process log."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._running: list[tuple[Callable[[], Definition | None], Topics]] = []

    def add(self, workflow: Callable[[], Definition | None], topics: Topics) -> None:
        """Note that a workflow runs in these topics."""
        self._running.append((workflow, topics))

    async def find(self, run: ChildRun) -> Place:
        """Return where the workflow of a run is, which begins to run if it does not yet."""
        topics = self._topics(run)
        if topics is None:
            workflow, number = run.workflow, len(self._running)
            topics = Topics(f"memory-{number}", workflow.workflow_name, workflow.group_name)
            self.add(lambda: workflow, topics)
            self._begin(workflow, topics)
        return Place(f"{topics.prefix}.{topics.workflow}", 1)

    def _topics(self, run: ChildRun) -> Topics | None:
        there = [(workflow(), topics) for workflow, topics in self._running]
        for workflow, topics in there:
            same_class = type(workflow) is type(run.workflow)
            if workflow is run.workflow or (run.by_class and same_class):
                return topics
        return None
