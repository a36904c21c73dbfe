"""
The runs around one run, whose steps await it, and those inside of it, which its steps await.

A run's `started` record names its parent, and the records of its steps name what they have waited
for. Only that is followed: a tree costs nothing for a run that has neither.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from fleet.config.settings import Settings
from fleet.control.runs.log import Run, RunLog
from fleet.control.runs.topic import CLOCKS_MS, RunDetails
from fleet.control.source import Source
from fleet.kafka import provision, topic_reader
from fleet.kafka.topic_reader import TopicReader
from fleet.records import envelope as envelopes
from fleet.records.envelope import BrokenEnvelope
from fleet.records.lifecycle import StepRecord
from fleet.records.log import Delivered
from fleet.records.nested.caller import MOST_NESTED
from fleet.records.partitions import partition_of

#: In the place of an outcome, of a run of which the log has no record.
NOT_BEGUN = "not begun"


@dataclass(slots=True)
class Node:
    """One run of a tree."""

    workflow: str
    run_id: str
    #: None if the log has no record of it.
    run: Run | None = None
    children: list["Node"] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """How the run stands."""
        return self.run.outcome if self.run is not None else NOT_BEGUN


@dataclass(slots=True)
class Tree:
    """The runs around a run, the outermost first, and the run with those inside of it."""

    parents: list[Node]
    root: Node

    @property
    def is_alone(self) -> bool:
        """Whether there is nothing around the run and nothing in it."""
        return not self.parents and not self.root.children


async def tree(source: Source, details: RunDetails) -> Tree:
    """Read what is around a run and in it; raises the errors of `topic.runs`."""
    topics, run = source.topics, details.run
    root = Node(topics.workflow, run.id, run, _named(step.record for step in details.steps))
    found = Tree([], root)
    if not root.children and not run.parent_run:
        return found
    async with topic_reader.connected(source.settings) as reader:
        log = _Log(reader, source.settings, topics.prefix)
        await _look_up(log, found)
        await _look_down(log, root, run.started_at)
    return found


async def _look_up(log: "_Log", found: Tree) -> None:
    inner = found.root.run
    while inner is not None and inner.parent_run and len(found.parents) < MOST_NESTED:
        parent = Node(inner.parent_workflow, inner.parent_run)
        await log.read([parent])
        found.parents.insert(0, parent)
        inner = parent.run


async def _look_down(log: "_Log", root: Node, since: float | None) -> None:
    level = root.children
    for _ in range(MOST_NESTED):
        if not level:
            return
        await log.read(level, since)
        level = [child for node in level for child in node.children]


class _Log:
    """The topics of all workflows of a prefix."""

    def __init__(self, reader: TopicReader, settings: Settings, prefix: str) -> None:
        self._reader = reader
        self._settings = settings
        self._prefix = prefix

    async def read(self, nodes: Iterable[Node], since: float | None = None) -> None:
        """Read the lives of some runs and, with *since*, the runs that their steps await."""
        by_workflow: dict[str, dict[str, Node]] = {}
        for node in nodes:
            by_workflow.setdefault(node.workflow, {})[node.run_id] = node
        for workflow, several in by_workflow.items():
            await self._read(f"{self._prefix}.{workflow}", several, since)

    async def _read(self, topics: str, nodes: dict[str, Node], since: float | None) -> None:
        count = await provision.partitions(f"{topics}.runs", self._settings)
        numbers = sorted({partition_of(run_id, count) for run_id in nodes}) if count else []
        log = RunLog(only=nodes)
        await self._reader.take_all(topic_reader.partitions(f"{topics}.runs", numbers), log.take)
        for run_id, node in nodes.items():
            node.run = log.get(run_id)
        if since is not None:
            steps = _Steps(nodes)
            tps = topic_reader.partitions(f"{topics}.history", numbers)
            await self._reader.take_all(tps, steps.take, round(since * 1000) - CLOCKS_MS)
            for run_id, records in steps.found.items():
                nodes[run_id].children = _named(records)


class _Steps:
    """The step records of some runs."""

    def __init__(self, only: Iterable[str]) -> None:
        self.found: dict[str, list[StepRecord]] = {run_id: [] for run_id in only}

    def take(self, record: Delivered) -> None:
        """Take the next record of a partition of `history`."""
        try:
            run_id = envelopes.parse(record.headers).run_id
            if run_id in self.found:
                self.found[run_id].append(StepRecord.decode(record.value or b""))
        except (BrokenEnvelope, ValueError):
            # Another client has written it.
            return


def _named(records: Iterable[StepRecord]) -> list[Node]:
    """Return the runs that steps have waited for, in the order in which they are named."""
    names = dict.fromkeys(name for record in records for name in record.children)
    pairs = (name.partition(" ") for name in names)
    return [Node(workflow, run_id) for workflow, _, run_id in pairs if run_id]
