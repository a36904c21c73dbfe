"""What must hold of steps that wait for events: checked as they get them, and in each commit."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from faust.types import TP
from pydantic_core import from_json

from fleet.engine.transitions.suspended import Suspended
from fleet.records import envelope as envelopes
from fleet.records import state
from fleet.records.partitions import partition_of
from fleet.records.waits import Answer
from simulation.broker import Broker
from simulation.flow import Heard
from simulation.producers import Record, Transaction
from simulation.waited import Nod, Query
from simulation.worker import TOPICS
from simulation.world import World

#: How much earlier than due a wait may end without an event, in milliseconds: times are rounded.
EARLY_MS = 2.0
#: A nod that was appended so long before the end of a wait must have ended it, in seconds: workers
#: know the end of a log as of its last answer.
IN_TIME_SECONDS = 3.0


@dataclass
class WaitChecks:
    """What must hold of steps that wait for events, in one history."""

    world: World
    broker: Broker
    partitions: int
    #: Whether the broker's clocks are right.
    exact: bool = True
    #: Since when a worker has had the task of a partition that could commit now, if it has.
    owned_since: Callable[[str, int], float | None] = lambda _worker, _partition: None
    #: What each wait gave, by the key of its note.
    _noted: dict[bytes, bytes] = field(default_factory=dict)
    #: The commit in which an event has ended waits, by its id.
    _used: dict[str, int] = field(default_factory=dict)
    #: When what waits is due, in unix milliseconds.
    _due_ms: dict[bytes, int] = field(default_factory=dict)
    #: The numbers of the parts that wait, or have waited.
    _numbers: dict[bytes, int] = field(default_factory=dict)
    #: What each step has heard, by its key and the wait.
    _heard: dict[tuple[str, str], str] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)
    #: Nods that have ended a wait, by run and number.
    _taken: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    _commits: int = 0

    def on_heard(self, heard: Heard) -> None:
        """A wait of a step has ended."""
        partition = partition_of(heard.run_id, self.partitions)
        if self.owned_since(heard.worker, partition) is None:
            return
        before = self._heard.setdefault((heard.key, heard.wait), heard.given)
        if before != heard.given:
            told = f"{heard.wait} of {heard.key} gave {before!r}, and gives {heard.given!r}"
            self.world.violate(told)

    def on_commit(self, transaction: Transaction) -> None:
        """A transaction is committed."""
        self._commits += 1
        records = [record for part in transaction.parts.values() for record in part]
        for record in records:
            if record.topic == TOPICS.stream:
                self._note_question(record)
            elif record.topic == TOPICS.state and (record.key or b"").startswith(state.CALL):
                self._note_end(record)
        for record in records:
            if record.topic == TOPICS.state and (record.key or b"").startswith(state.WAITING):
                self._note_wait(record.key or b"", record.value)

    def _note_question(self, record: Record) -> None:
        envelope = envelopes.parse(record.headers)
        if envelope.type != Query.__name__:
            return
        if envelope.event_id in self._asked:
            self.world.violate(f"{envelope.run_id} is asked again: {record.value!r}")
        self._asked.add(envelope.event_id)

    def _note_wait(self, key: bytes, value: bytes | None) -> None:
        self._due_ms.pop(key, None)
        if value is not None:
            entry = Suspended.decode(value)
            self._due_ms[key] = entry.due_ms
            self._numbers[key[len(state.WAITING) :]] = from_json(entry.value).get("number", -1)

    def _note_end(self, record: Record) -> None:
        key = record.key or b""
        if record.value is None or not key.rpartition(b"\0")[2].startswith(b"wait "):
            return
        before = self._noted.setdefault(key, record.value)
        if before != record.value:
            self.world.violate(f"{key!r} has ended with {before!r}, and ends again")
        answer = Answer.decode(record.value)
        if answer is None:
            self._note_timeout(key, record)
        elif self._used.setdefault(answer.event_id, self._commits) != self._commits:
            self.world.violate(f"{answer.event_id} ends a wait again: {key!r}")
        elif answer.type == Nod.__name__:
            nod = from_json(answer.value)
            run_id = key[len(state.CALL) :].partition(b"\0")[0].decode()
            self._taken[run_id, nod["number"]].add(nod["token"])

    def _note_timeout(self, key: bytes, record: Record) -> None:
        place = key[len(state.CALL) :].rpartition(b"\0")[0]
        due_ms = self._due_ms.get(state.WAITING + place, 0)
        partition = record.partition
        now_ms = self.broker.time_of(TP(TOPICS.runs, partition)) * 1000
        if self.exact and due_ms - now_ms > EARLY_MS:
            self.world.violate(f"{key!r} times out {due_ms - now_ms} ms early")
        if key.rpartition(b"\0")[2].startswith(b"wait turn"):
            self._check_lost(place, partition, due_ms)

    def _check_lost(self, place: bytes, partition: int, due_ms: int) -> None:
        """No nod is in the log that would have ended the wait."""
        run_id = place.decode().partition("\0")[0]
        number = self._numbers.get(place, -1)
        for record in self.broker.at(TP(TOPICS.inbox, partition)).records():
            if not _is_nod(record, run_id):
                continue
            nod, in_time = from_json(record.value or b""), due_ms - IN_TIME_SECONDS * 1000
            taken = self._taken[run_id, number]
            is_meant = nod["number"] == number and nod["token"] not in taken
            if is_meant and record.timestamp < in_time and self.exact:
                self.world.violate(f"{run_id} lost the nod {nod['token']}")


def _is_nod(record: Record, run_id: str) -> bool:
    try:
        envelope = envelopes.parse(record.headers)
    except envelopes.BrokenEnvelope:
        return False
    return envelope.run_id == run_id and envelope.type == Nod.__name__
