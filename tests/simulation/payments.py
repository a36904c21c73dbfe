"""What must hold of recorded calls: checked as each is made, as its value is given, and after."""

from collections import Counter
from typing import TYPE_CHECKING

from fleet.records import state
from fleet.records.lifecycle import StepRecord
from fleet.records.partitions import partition_of
from simulation.paying import Account
from simulation.producers import Transaction
from simulation.worker import TOPICS
from simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable


class Payments:
    """The calls of one history."""

    def __init__(
        self, world: World, committed: dict[int, dict[bytes, bytes]], *, asks: bool
    ) -> None:
        self._world = world
        #: The changelog of each partition, compacted.
        self._state = committed
        #: Since when a worker has had the task of a partition that could commit now, if it has.
        self.owned_since: Callable[[str, int], float | None] = lambda _worker, _partition: None
        #: Whether steps refuse answers.
        self.asks = asks
        self._calls = 0
        #: What was given for each account.
        self._given: dict[str, int] = {}
        #: What calls have done outside.
        self.effects: dict[str, int] = {}

    def random(self) -> float:
        """Return a number from 0 to 1."""
        return self._world.random.random()

    def begin(self, account: Account, of_attempt: Counter[str]) -> int:
        """A call begins; return its number."""
        self._calls += 1
        of_attempt[account.name] += 1
        if of_attempt[account.name] > 1:
            self._world.violate(f"an attempt calls twice for {account.name}")
        # One that has lost its partition may not have heard what its successor has paid.
        if self._owns(account):
            if account.name in self._given:
                self._world.violate(f"{account.name} was given, and is paid again")
            if account.name.startswith("order") and account.name in self.effects:
                self._world.violate(f"{account.name} has happened, and is called again")
        return self._calls

    def happen(self, account: Account, number: int) -> None:
        """A call takes effect outside."""
        self.effects[account.name] = number

    def give(self, account: Account, value: int) -> None:
        """`ctx.memo` has returned: the value is in the log, and stays the same."""
        before = self._given.setdefault(account.name, value)
        if before != value:
            self._world.violate(f"{account.name} was {before}, and is {value}")
        kept = self._state[self._partition(account)]
        if not self._owns(account) or state.run_key(account.run_id) not in kept:
            return
        recorded = [
            value
            for key, value in kept.items()
            if key.startswith(state.calls_prefix(account.run_id))
        ]
        if not any(f'"value":{value}}}'.encode() in record for record in recorded):
            self._world.violate(f"{account.name} is given, and the log does not have it")

    def on_commit(self, transaction: Transaction) -> None:
        """A transaction is committed, and the changelogs have it."""
        for part in transaction.parts.values():
            for record in part:
                if record.topic == TOPICS.history:
                    step = StepRecord.decode(record.value or b"")
                    if step.outcome == "returned":
                        self._check_settled((record.key or b"").decode(), record.partition, step)

    def _check_settled(self, run_id: str, partition: int, step: StepRecord) -> None:
        own = state.call_key(run_id, step.event_id, step.step, "")
        if any(key.startswith(own) for key in self._state[partition]):
            self._world.violate(f"calls of {step.step} of {step.event_id} outlive its result")

    def _owns(self, account: Account) -> bool:
        return self.owned_since(account.worker, self._partition(account)) is not None

    def _partition(self, account: Account) -> int:
        return partition_of(account.run_id, len(self._state))
