"""
Reads what a group's state has of a run: from the changelog, for callers that ask.

A changelog has no lookup by key, so the first look at a run reads its partition. Later looks read
what was appended since.
"""

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from fleet.kafka.calling.open_steps import OpenSteps
from fleet.kafka.clients import Clients
from fleet.kafka.topic_reader import TopicReader
from fleet.records import printable
from fleet.records.run_entries import RunEntries
from fleet.records.topics import Topics
from fleet.workflow.errors import WorkflowRuntimeError
from fleet.workflow.graph import Graph

#: A look reads a whole partition: few and large answers, in milliseconds and bytes.
_OPTIONS = {"fetch_max_wait_ms": 20, "max_partition_fetch_bytes": 4 * 1024 * 1024}
#: Of how many runs a later look continues from the one before.
_REMEMBERED = 100
#: For how long, in seconds: the broker forgets deletions, after a day by its defaults.
_REMEMBERED_SECONDS = 3_600.0


class ContextUnreadable(WorkflowRuntimeError):
    """Raised when a caller cannot read the context of a run, because the broker does not let it.

    What to do: Let this client read the state topic that the message names, or let the step that
    knows the value return it.
    """

    permanent = False

    def __init__(self, run_id: str, topic: str, failure: BaseException) -> None:
        super().__init__(
            f"the context of run {printable.line(run_id)} cannot be read from {topic} "
            f"({failure!r}); let this client read that topic, or return what you need in the result"
        )


class _Look(NamedTuple):
    """What was found of a run."""

    entries: RunEntries
    #: The next offset to read.
    position: int
    #: Seconds of the loop's clock.
    at: float


class RunState:
    """Reads entries of one group's changelog."""

    def __init__(self, clients: Clients, topics: Topics) -> None:
        self._clients = clients
        self._topics = topics
        self._topic = topics.state
        self._looks: OrderedDict[str, _Look] = OrderedDict()

    async def read(self, partition: int, run_id: str) -> RunEntries:
        """Return what is committed of a run; raise ContextUnreadable."""
        now = asyncio.get_running_loop().time()
        # Taken away meanwhile: two looks at once must not fill one and the same.
        last = self._looks.pop(run_id, None)
        if last is None or now - last.at > _REMEMBERED_SECONDS:
            last = _Look(RunEntries(run_id), 0, now)
        try:
            position = await self._read(TopicPartition(self._topic, partition), last)
        except (KafkaError, OSError) as failure:
            raise ContextUnreadable(run_id, self._topic, failure) from None
        self._looks[run_id] = _Look(last.entries, position, now)
        if len(self._looks) > _REMEMBERED:
            self._looks.popitem(last=False)
        return last.entries

    async def open_steps(self, partition: int, run_id: str, graph: Graph) -> list[str]:
        """Return the names of the steps that are not done with an event; as `read`."""
        try:
            async with TopicReader(self._clients, **_OPTIONS) as reader:
                return await OpenSteps(self._topics, graph, run_id, partition).find(reader)
        except (KafkaError, OSError) as failure:
            raise ContextUnreadable(run_id, self._topic, failure) from None

    async def _read(self, tp: TopicPartition, last: _Look) -> int:
        async with TopicReader(self._clients, **_OPTIONS) as reader:
            end = (await reader.ends([tp]))[tp]
            async for batch in reader.read({tp: (last.position, end)}):
                for record in batch.records.get(tp, ()):
                    last.entries.take(record.key, record.value)
        return end
