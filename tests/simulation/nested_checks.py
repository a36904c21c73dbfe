"""What must hold of runs that steps start and await: checked in each commit, and at the end."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic_core import from_json

from fleet.records import envelope as envelopes
from fleet.records import state
from fleet.records.envelope import Envelope, idempotency_key
from fleet.records.lifecycle import Cancelled, Completed, Failed
from fleet.records.nested.caller import ENDED, Caller, Told
from fleet.records.partitions import partition_of
from simulation.checks import Checks
from simulation.flow import Heard, Order
from simulation.producers import Record, Transaction
from simulation.worker import TOPICS
from simulation.world import World

_START = TOPICS.event(Order.__name__)
_WAYS = (_START, TOPICS.runs, TOPICS.inbox)


class Asked(NamedTuple):
    """What a step has called."""

    run_id: str
    event_id: str
    step: str
    call: str


@dataclass
class NestedChecks:
    """What must hold of the runs that steps start, in one history."""

    world: World
    checks: Checks
    partitions: int
    #: Since when a worker has had the task of a partition that could commit now, if it has.
    owned_since: Callable[[str, int], float | None] = lambda _worker, _partition: None
    #: The runs that each call has started, in order.
    runs: dict[Asked, list[str]] = field(default_factory=lambda: defaultdict(list))
    #: Runs that a commit of their parent has cancelled.
    _given_up: set[str] = field(default_factory=set)
    #: How often each end was told.
    _told: Counter[tuple[str, int]] = field(default_factory=Counter)
    #: What each step has heard, by its key and what it was.
    _heard: dict[tuple[str, str], str] = field(default_factory=dict)

    def on_heard(self, heard: Heard) -> None:
        """A step has got what a run has given."""
        partition = partition_of(heard.run_id, self.partitions)
        if self.owned_since(heard.worker, partition) is None:
            return
        before = self._heard.setdefault((heard.key, heard.wait), heard.given)
        if before != heard.given:
            told = f"{heard.wait} of {heard.key} gave {before!r}, and gives {heard.given!r}"
            self.world.violate(told)
        self._check_failure(heard)
        self.checks.read()
        if heard.given not in self._given(heard.key):
            self.world.violate(f"{heard.wait} of {heard.key} gives {heard.given!r} of no run")

    def _check_failure(self, heard: Heard) -> None:
        """Each attempt hears of another run that has failed."""
        if heard.wait.startswith("failure"):
            for (key, what), given in self._heard.items():
                if key == heard.key and what != heard.wait and given == heard.given:
                    self.world.violate(f"{heard.wait} of {key} is the one before: {given!r}")

    def _given(self, key: str) -> Iterator[str]:
        """Yield what the ended runs have given that a step has started."""
        for asked, run_ids in self.runs.items():
            if idempotency_key(asked.event_id, asked.step) != key:
                continue
            for end in (self.checks.ends.get(run_id) for run_id in run_ids):
                if isinstance(end, Completed):
                    yield str(from_json(end.event)["by"])
                elif isinstance(end, Failed):
                    yield end.failure.message

    def on_commit(self, transaction: Transaction) -> None:
        """A transaction is committed."""
        records = [record for part in transaction.parts.values() for record in part]
        own = int(transaction.owner.rpartition("-")[2])
        changed = {record.key for record in records if record.topic == TOPICS.state}
        # What is given up goes before what is started in its place.
        found = [(record, envelopes.parse(record.headers)) for record in records if _is_way(record)]
        for record, envelope in found:
            if envelope.type == Cancelled.kind and envelope.event_id.endswith("-cancelled"):
                self._check_cancel(record, envelope, changed)
        for record, envelope in found:
            if record.topic == _START and envelope.caller:
                self._check_start(record, envelope, own, changed)
            elif envelope.type == ENDED:
                self._check_end(record, envelope, changed)

    def _check_start(
        self, record: Record, envelope: Envelope, own: int, changed: set[bytes | None]
    ) -> None:
        caller, run_id = Caller.read(envelope.caller), envelope.run_id
        asked = Asked(caller.run_id, caller.event_id, caller.step, caller.call)
        if any(run_id in run_ids for run_ids in self.runs.values()):
            self.world.violate(f"{run_id} is started again")
        if state.call_key(*asked) not in changed:
            self.world.violate(f"{run_id} is started, and its step does not know it")
        if caller.partition != own or record.partition != partition_of(run_id, self.partitions):
            self.world.violate(f"{run_id} is in partition {record.partition}, started by {caller}")
        self.checks.read()
        for before in self.runs[asked]:
            end = self.checks.ends.get(before)
            failed = end is not None and not isinstance(end, Completed)
            if before not in self._given_up and not failed:
                self.world.violate(f"{run_id} is started, and {before} is {end}")
        self.runs[asked].append(run_id)

    def _check_cancel(self, record: Record, envelope: Envelope, changed: set[bytes | None]) -> None:
        if envelope.run_id in self._given_up:
            self.world.violate(f"{envelope.run_id} is cancelled again by its parent")
        if record.partition != partition_of(envelope.run_id, self.partitions):
            self.world.violate(f"{envelope.run_id} is cancelled where it is not")
        places = [asked for asked, run_ids in self.runs.items() if envelope.run_id in run_ids]
        # Without a place it is started in this very commit.
        if places and not any(state.call_key(*asked) in changed for asked in places):
            self.world.violate(f"{envelope.run_id} is cancelled, and its step awaits it")
        self._given_up.add(envelope.run_id)

    def _check_end(self, record: Record, envelope: Envelope, changed: set[bytes | None]) -> None:
        told = Told.read(envelope.told)
        self._told[told.run_id, told.epoch] += 1
        if self._told[told.run_id, told.epoch] > 1:
            self.world.violate(f"the end of {told.run_id} is told again")
        if record.partition != partition_of(envelope.run_id, self.partitions):
            self.world.violate(f"the end of {told.run_id} is told where its parent is not")
        began = told.run_id in self.checks.begun
        if began and state.end_key(told.run_id) not in changed:
            self.world.violate(f"the end of {told.run_id} is told apart from it")

    # -- at the end -----------------------------------------------------------------------------

    def unfinished(self) -> Iterator[str]:
        """Yield the runs that go on, or whose parents have not heard of their ends."""
        for run_ids in self.runs.values():
            for run_id in run_ids:
                if run_id not in self.checks.ends:
                    yield f"{run_id} goes on"
                elif not self._told[run_id, self.checks.epoch(run_id)]:
                    yield f"nobody has told the parent of {run_id} of its end"


def _is_way(record: Record) -> bool:
    if record.topic not in _WAYS:
        return False
    try:
        envelopes.parse(record.headers)
    except envelopes.BrokenEnvelope:
        return False
    return True
