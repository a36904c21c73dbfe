"""
Reads what a group's state has of a run: from the changelog, for callers that ask.

A changelog has no lookup by key, so the first look at a run reads its partition. Later looks read
what was appended since.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from fleet.config import logs
from fleet.kafka.calling.open_steps import OpenSteps
from fleet.kafka.clients import Clients
from fleet.kafka.topic_reader import TopicReader
from fleet.records import printable
from fleet.records.run_entries import RunEntries
from fleet.records.topics import Topics
from fleet.workflow.errors import WorkflowRuntimeError
from fleet.workflow.graph import Graph

T = TypeVar("T")
_log = logs.get_logger("caller")
#: A look reads a whole partition: few and large answers, in milliseconds and bytes.
_OPTIONS = {"fetch_max_wait_ms": 20, "max_partition_fetch_bytes": 4 * 1024 * 1024}
#: For how long it tries, and the pause between two attempts, in seconds.
TRY_SECONDS = 30.0
RETRY_SECONDS = 0.2
#: Against these trying again does not help.
_HOPELESS = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)
#: Of how many runs a later look continues from the one before.
_REMEMBERED = 100
#: For how long, in seconds: the broker forgets deletions, after a day by its defaults.
_REMEMBERED_SECONDS = 3_600.0


class ContextUnreadable(WorkflowRuntimeError):
    """Raised when a caller cannot read the context of a run, because the broker does not let it.

    What to do: Let this client read the state topic that the message names, and look whether the
    broker is there. Or let the step that knows the value return it.
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
        return await self._tried(run_id, partial(self._look, partition, run_id))

    async def open_steps(self, partition: int, run_id: str, graph: Graph) -> list[str]:
        """Return the names of the steps that are not done with an event; as `read`."""

        async def find(reader: TopicReader) -> list[str]:
            return await OpenSteps(self._topics, graph, run_id, partition).find(reader)

        return await self._tried(run_id, find)

    async def _tried(self, run_id: str, read: Callable[[TopicReader], Awaitable[T]]) -> T:
        """Return what *read* gives; the broker may be away for a while."""
        clock = asyncio.get_running_loop().time
        until = clock() + TRY_SECONDS
        while True:
            try:
                async with TopicReader(self._clients, **_OPTIONS) as reader:
                    return await read(reader)
            except (KafkaError, OSError) as failure:
                if isinstance(failure, _HOPELESS) or clock() > until:
                    raise ContextUnreadable(run_id, self._topic, failure) from None
                _log.warning("context_look_again", topic=self._topic, error=repr(failure))
                await asyncio.sleep(RETRY_SECONDS)

    async def _look(self, partition: int, run_id: str, reader: TopicReader) -> RunEntries:
        now, tp = asyncio.get_running_loop().time(), TopicPartition(self._topic, partition)
        # Taken away meanwhile: two looks at once must not fill one and the same.
        last = self._looks.pop(run_id, None)
        if last is None or now - last.at > _REMEMBERED_SECONDS:
            last = _Look(RunEntries(run_id, self._topics.runs), 0, now)
        end = (await reader.ends([tp]))[tp]
        async for batch in reader.read({tp: (last.position, end)}):
            for record in batch.records.get(tp, ()):
                last.entries.take(record.key, record.value)
        self._looks[run_id] = _Look(last.entries, end, now)
        if len(self._looks) > _REMEMBERED:
            self._looks.popitem(last=False)
        return last.entries
