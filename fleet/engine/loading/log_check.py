"""
Whether the logs that a task reads are those that its positions are of.

An offset names a record in one log only. A topic that was deleted and created again, or that a
broker has truncated, has other records at the offsets that a task knows, and reading on by them
skips records without a word. So a position keeps the topic's id, and the append time of the last
record before it. A task whose logs are others is not begun, and a worker ends that finds out while
it runs: going on would lose more.

What retention has removed is gone whatever is done. It is logged and counted, and the task
continues.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from fleet.config import logs
from fleet.engine.ends_index import INDEX
from fleet.engine.offsets import OffsetTracker
from fleet.engine.ports import Loader
from fleet.records import state
from fleet.records.errors import FleetError
from fleet.records.log import Delivered

if TYPE_CHECKING:
    from fleet.engine.task import Task

_log = logs.get_logger("logs")
_WAY_OUT = (
    "To process what is there now from its beginning, set FLEET_ACCEPT_LOGS={}; to leave it, use a "
    "new FLEET_PREFIX. See docs/operations.md"
)


class LogReplaced(FleetError):
    """Raised when a topic was deleted and created again under a worker or between two of them.

    What to do: Decide whether workers may process the new topic from its beginning. If so, set
    `FLEET_ACCEPT_LOGS` to its id. docs/operations.md has the whole way.
    """

    def __init__(self, topic: str, before: str, now: str) -> None:
        super().__init__(
            f"{topic} was deleted and created again: this worker knows the topic {before}, and the "
            f"broker has {now}. What the old one had and was not done is lost. "
            + _WAY_OUT.format(now)
        )


class LogShrunk(FleetError):
    """Raised when an input topic does not have what the state has read in it any more.

    What to do: Find out what the broker lost. To continue from the beginning of what is there, set
    `FLEET_ACCEPT_LOGS` to the topic's id. docs/operations.md has the whole way.
    """

    def __init__(self, topic: str, partition: int, evidence: str, log_id: str) -> None:
        super().__init__(
            f"{topic}[{partition}] {evidence}: the broker has lost records, or the topic was "
            "created again. " + _WAY_OUT.format(log_id or topic)
        )


class LogGone(FleetError):
    """Raised when a topic of a running worker is not on the broker any more.

    What to do: Create the topic with `fleet topics apply`, and start the worker again: it says how
    to continue. docs/operations.md has the whole way.
    """

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"{topic} was deleted under this worker: what it had and was not done is lost. Create "
            "it with `fleet topics apply`; the next worker then says how to continue"
        )


class StateLost(FleetError):
    """Raised when a group has offsets on the broker and no state, so its topic was deleted.

    What to do: Decide between beginning open runs again (`FLEET_ACCEPT_LOGS`) and leaving them (a
    new `FLEET_PREFIX`). docs/operations.md has both ways.
    """

    def __init__(self, topic: str, partition: int, evidence: str, log_id: str) -> None:
        super().__init__(
            f"{topic}[{partition}] has no state and {evidence}: the topic was deleted and created "
            "again. All positions and the context of open runs are lost. To begin open runs again "
            "from their start events, so that their steps run and cost a second time, set "
            f"FLEET_ACCEPT_LOGS={log_id or topic}; to leave them, use a new FLEET_PREFIX. See "
            "docs/operations.md"
        )


@dataclass(frozen=True, slots=True)
class Found:
    """An input partition as the broker has it."""

    log_id: str
    begin: int
    #: The last stable offset.
    end: int


class Known(NamedTuple):
    """What a task knows of an input partition: its topic's id, and up to where it was read."""

    log_id: str
    next: int
    task: "Task | None" = None


def judge(topic: str, partition: int, known: Known, found: Found) -> FleetError | None:
    """Return why *known* is no position in what was found, if it is none."""
    if known.log_id and found.log_id and known.log_id != found.log_id:
        return LogReplaced(topic, known.log_id, found.log_id)
    if found.end < known.next:
        evidence = f"ends at {found.end} and was read up to {known.next}"
        return LogShrunk(topic, partition, evidence, found.log_id)
    return None


class InputCheck:
    """Compares the positions that a task has loaded with the logs that are there."""

    def __init__(self, loader: Loader, task: "Task", accepted: frozenset[str]) -> None:
        self._loader = loader
        self._task = task
        self._accepted = accepted

    async def run(self) -> None:
        """Raise LogReplaced or LogShrunk; let go of what is gone; note the ids."""
        found = await self._find()
        for topic, log in found.items():
            tracker = self._tracker(topic)
            known = Known(tracker.log_id, tracker.next)
            failure = judge(topic, self._task.partition, known, log)
            self._settle(topic, log, failure)
        for topic, failure in (await self._compare(found)).items():
            self._settle(topic, found[topic], failure)
        for topic, log in found.items():
            self._note(topic, log)
            self._task.intake.skipped(topic, log.begin)
            self._task.intake.cut(topic, log.begin)

    async def _find(self) -> dict[str, Found]:
        topics = list(self._task.trackers)
        for tracker in self._task.trackers.values():
            tracker.ask()
        ids = await self._loader.log_ids(topics)
        begins, ends = await self._loader.begins(topics), await self._loader.ends(topics)
        return {topic: Found(ids.get(topic, ""), begins[topic], ends[topic]) for topic in topics}

    async def _compare(self, found: Mapping[str, Found]) -> dict[str, FleetError]:
        """Compare the last record before each position with the one that is there."""
        known = {
            topic: tracker.last_offset
            for topic, tracker in self._task.trackers.items()
            if found[topic].begin <= tracker.last_offset < found[topic].end
        }
        records = await self._loader.first(known) if known else {}
        others = {
            topic: offset
            for topic, offset in known.items()
            if not self._is_last(topic, records.get(topic))
        }
        # Retention may have removed it since the beginning was asked for.
        begins = await self._loader.begins(others) if others else {}
        return {
            topic: self._differs(topic, offset, found[topic].log_id)
            for topic, offset in others.items()
            if begins[topic] <= offset
        }

    def _is_last(self, topic: str, record: Delivered | None) -> bool:
        last = self._tracker(topic)
        there = (record.offset, record.appended_ms) if record is not None else None
        return there == (last.last_offset, last.last_ms)

    def _differs(self, topic: str, offset: int, log_id: str) -> FleetError:
        evidence = f"has another record at offset {offset} than the one that was read"
        return LogShrunk(topic, self._task.partition, evidence, log_id)

    def _settle(self, topic: str, found: Found, failure: FleetError | None) -> None:
        if failure is None:
            return
        if not self._accepted & {found.log_id or topic}:
            raise failure
        _log.warning(
            "log_accepted", topic=topic, partition=self._task.partition, log_id=found.log_id
        )
        self._task.inputs.replace_log(topic, found.log_id, found.begin)

    def _note(self, topic: str, found: Found) -> None:
        """Keep the id, and with it a position, also if no record was read yet.

        A topic without a position is new to the group: what was removed before it came is no loss.
        """
        is_new = self._task.ledger.get(state.position_key(topic)) is None
        self._tracker(topic).find(found.log_id, found.begin if is_new else None)

    def _tracker(self, topic: str) -> OffsetTracker:
        return self._task.trackers[topic]


def forget_state(task: "Task") -> None:
    """Remove what is left of a state that was lost: it is not whole."""
    for key in list(_kept(task)):
        task.ledger.open.state.delete(key)


def remains(task: "Task") -> bool:
    """Whether there is state without the entry that every state has from its first commit on."""
    return task.ledger.get(state.META) is None and any(_kept(task))


def _kept(task: "Task") -> Iterator[bytes]:
    """Yield the keys of the state, and not those that only the local copy has."""
    keys = (key for key, _ in task.ledger.items(b""))
    return (key for key in keys if key and not key.startswith(INDEX))
