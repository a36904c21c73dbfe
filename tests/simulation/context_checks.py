"""What must hold of edits of contexts: checked with each transaction, and as each block ends."""

from collections.abc import Callable, Sequence

from faust.types import TP
from pydantic_core import from_json

from fleet.records import envelope as envelopes
from fleet.records import state
from fleet.records.envelope import idempotency_key
from fleet.records.lifecycle import Completed, StepRecord
from fleet.records.partitions import partition_of
from simulation.broker import Broker
from simulation.edited import EDITS, edit_name
from simulation.flow import Attempt
from simulation.producers import Record, Transaction
from simulation.worker import TOPICS
from simulation.world import World

State = dict[int, dict[bytes, bytes]]


class ContextChecks:
    """The promises about edits, of one history."""

    def __init__(
        self,
        world: World,
        broker: Broker,
        attempts: Sequence[Attempt],
        committed: State,
    ) -> None:
        self._world = world
        self._broker = broker
        self._attempts = attempts
        #: The changelog of each partition, compacted.
        self._state = committed
        #: Since when a worker has had the task of a partition that could commit now, if it has.
        self.owned_since: Callable[[str, int], float | None] = lambda _worker, _partition: None
        #: The edits of each run, as each transaction left them.
        self._made: dict[str, list[list[str]]] = {}
        #: What results have brought.
        self._brought: dict[str, list[list[str]]] = {}

    def on_edit(self, run_id: str, worker: str, name: str) -> None:
        """A block has ended: its edit is in the log."""
        partition = partition_of(run_id, len(self._state))
        kept = self._state[partition]
        if self.owned_since(worker, partition) is None or state.run_key(run_id) not in kept:
            return
        if name not in self._edits(run_id, partition):
            self._world.violate(f"the block of {name} has ended, and the log has no edit of it")

    def made(self, run_id: str) -> list[str]:
        """Return the edits of a run that are committed now."""
        return self._made.get(run_id, [[]])[-1]

    def readable(self, run_id: str) -> list[str]:
        """Return the edits of a run that readers can have by now."""
        log = self._broker.at(TP(TOPICS.state, partition_of(run_id, len(self._state))))
        key = state.context_prefix(run_id) + b"made"
        values = [record.value for record in log.records() if record.key == key]
        return from_json(values[-1]) if values and values[-1] is not None else []

    def on_look(self, run_id: str, before: list[str], made: list[str]) -> None:
        """A caller has read the edits *made*; *before* were readable when it began."""
        if made in self._brought.get(run_id, []):
            # Later edits were no more of it.
            return
        kept = self._state[partition_of(run_id, len(self._state))]
        # One that was forgotten before its end was heard.
        is_gone = not made and not {state.run_key(run_id), state.end_key(run_id)} & kept.keys()
        known = not made or made in self._made.get(run_id, [])
        if not is_gone and not (known and made[: len(before)] == before):
            self._world.violate(f"a caller reads {made} of {run_id}, after {before}")

    def on_commit(self, transaction: Transaction) -> None:
        """A transaction is committed, and the changelogs have it."""
        records = [record for part in transaction.parts.values() for record in part]
        changed = {record.key for record in records if record.topic == TOPICS.state}
        for record in records:
            if record.topic == TOPICS.history:
                self._check_step(record)
            elif record.topic == TOPICS.runs:
                self._check_result(record, records)
        for key in changed:
            if key is not None and key.startswith(state.CONTEXT) and key.endswith(b"\0made"):
                self._check_edits(key[len(state.CONTEXT) : -len(b"\0made")].decode(), records)

    def _check_edits(self, run_id: str, records: list[Record]) -> None:
        """Each edit is there once, and stays for as long as the run does."""
        before, after = self.made(run_id), self._edits(run_id, records[0].partition)
        self._made.setdefault(run_id, []).append(after)
        if len(set(after)) < len(after):
            self._world.violate(f"an edit of {run_id} is applied twice: {after}")
        if after and after[: len(before)] != before:
            self._world.violate(f"edits of {run_id} are lost: {before}, then {after}")

    def _check_step(self, record: Record) -> None:
        """What a step has edited is there with its result, and its notes are gone."""
        step, run_id = StepRecord.decode(record.value or b""), (record.key or b"").decode()
        if step.outcome == "raised" or step.step not in EDITS:
            return
        kept = self._state[record.partition]
        own = b"%b%b\0%b\0" % (
            state.edits_prefix(run_id),
            step.event_id.encode(),
            step.step.encode(),
        )
        if any(key.startswith(own) for key in kept):
            self._world.violate(f"notes of {step.step} of {step.event_id} outlive its result")
        if state.run_key(run_id) not in kept:
            return
        key = _key(record)
        expected = {edit_name(key, number + 1) for number in range(EDITS[step.step])}
        missing = expected.difference(self._edits(run_id, record.partition))
        if missing:
            self._world.violate(f"{step.step} of {step.event_id} has its result without {missing}")

    def _check_result(self, record: Record, records: list[Record]) -> None:
        """The record of a result has the context of its moment."""
        envelope = envelopes.parse(record.headers)
        if envelope.type != Completed.kind:
            return
        completed = Completed.model_validate_json(record.value or b"")
        by: int = from_json(completed.event)["by"]
        if self._attempts[by - 1].key not in set(map(_key, records)):
            # It was written again, for the epoch that its run has come to.
            return
        brought = from_json(completed.context or "{}").get("made", [])
        self._brought.setdefault(envelope.run_id, []).append(brought)
        before = self.made(envelope.run_id)
        after = self._edits(envelope.run_id, record.partition)
        is_open = state.run_key(envelope.run_id) in self._state[record.partition]
        if brought[: len(before)] != before or (is_open and after[: len(brought)] != brought):
            self._world.violate(f"the result of {envelope.run_id} brings {brought}")

    def _edits(self, run_id: str, partition: int) -> list[str]:
        value = self._state[partition].get(state.context_prefix(run_id) + b"made")
        return from_json(value) if value is not None else []


def _key(record: Record) -> str:
    """Return the key that the attempts of a step share whose history record this is, or nothing."""
    if record.topic != TOPICS.history:
        return ""
    step = StepRecord.decode(record.value or b"")
    return idempotency_key(step.event_id, step.step)
