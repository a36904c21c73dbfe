"""
A simulated consumer group: eager rebalances, sessions that expire, offsets.

Whoever is thrown out learns it at its next heartbeat, however late that is. Partitions are spread
by chance, which moves them most; where processes of several versions are in the group, by the
assignor of the leader, who is the member that has been there longest.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from faust.types import TP

from simulation.assigning import Membership
from simulation.broker import Busy
from simulation.world import World

SESSION_SECONDS = 6.0
HEARTBEAT_SECONDS = 1.5
#: How long a rebalance waits for members that are known to be there.
JOIN_SECONDS = 10.0


@dataclass(slots=True)
class Member:
    """One process in the group."""

    heard: float
    #: It has asked to be part of the generation that is being made.
    joining: bool = False
    #: What it told the leader, and its own assignor.
    metadata: Any = None
    membership: Membership | None = None


class Group:
    """The coordinator of one group. Each method is one request."""

    def __init__(
        self, world: World, partitions: int, check_offset: Callable[[TP, int], None]
    ) -> None:
        self._world = world
        self._partitions = partitions
        self._check_offset = check_offset
        self.members: dict[str, Member] = {}
        self.generation = 0
        self.offsets: dict[TP, int] = {}
        self._assignment: dict[str, Any] = {}
        #: Which member owns a partition, by generation and partition.
        self._owners: dict[tuple[int, int], str] = {}
        self._stable = True
        self._look()

    def join(
        self, member: str, metadata: Any = None, membership: Membership | None = None
    ) -> tuple[int, Any]:
        """Become part of the next generation; return it and the member's partitions.

        With an assignor: what that of the leader gives the member.
        """
        known = self.members.get(member)
        if self._stable and known is not None and known.joining:
            known.joining = False
            return self.generation, self._assignment[member]
        if known is None or not known.joining:
            self.members[member] = Member(
                self._world.now, joining=True, metadata=metadata, membership=membership
            )
            if self._stable:
                self._begin()
        self.members[member].heard = self._world.now
        self._complete()
        raise Busy(0.05)

    def heartbeat(self, member: str, generation: int) -> str:
        """Say that a member is alive; return `ok`, `rebalance` or `unknown`."""
        known = self.members.get(member)
        if known is None:
            return "unknown"
        known.heard = self._world.now
        return "ok" if self._stable and generation == self.generation else "rebalance"

    def leave(self, member: str) -> None:
        """Go."""
        if self.members.pop(member, None) is not None:
            self._world.note("group", f"{member} leaves")
            self._begin()
            self._complete()

    def rebalance(self) -> None:
        """Make a new generation for no reason."""
        if self._stable and self.members:
            self._begin()

    def commit(self, member: str, generation: int, offsets: dict[TP, int]) -> bool:
        """Keep offsets, of a member of this generation only."""
        if member not in self.members or generation != self.generation:
            return False
        for tp, offset in offsets.items():
            self._check_offset(tp, offset)
        self.offsets |= offsets
        return True

    def own(self, member: str, generation: int, partitions: Iterable[int]) -> None:
        """Note which partitions a member of a generation takes for its own: each has one owner."""
        for partition in partitions:
            owner = self._owners.setdefault((generation, partition), member)
            if owner != member:
                self._world.violate(f"{owner} and {member} both own {partition}")

    def _begin(self) -> None:
        if self._stable:
            self._stable = False
            self._world.after(JOIN_SECONDS, self._give_up_waiting(self.generation))

    def _give_up_waiting(self, generation: int) -> Callable[[], None]:
        def give_up() -> None:
            if not self._stable and self.generation == generation:
                for name in [name for name, each in self.members.items() if not each.joining]:
                    self._world.note("group", f"goes on without {name}")
                    del self.members[name]
                self._complete()

        return give_up

    def _complete(self) -> None:
        if self._stable or not all(each.joining for each in self.members.values()):
            return
        self.generation += 1
        self._stable = True
        self._assign()
        self._world.note("group", f"generation {self.generation}: {_told(self._assignment)}")

    def _assign(self) -> None:
        leader = next(iter(self.members.values()), None)
        if leader is not None and leader.membership is not None:
            told = {name: each.metadata for name, each in self.members.items()}
            self._assignment = leader.membership.assign(self._partitions, told)
            if leader.membership.is_ours:
                self._check_whole()
            return
        names = list(self.members)
        self._world.random.shuffle(names)
        self._assignment = {name: [] for name in names}
        for partition in range(self._partitions):
            if names:
                self._assignment[names[partition % len(names)]].append(partition)

    def _check_whole(self) -> None:
        """A leader of this version gives a member all that it reads of a partition, or nothing."""
        for name, member in self.members.items():
            assigned = self._assignment[name].partitions()
            partitions = {tp.partition for tp in assigned}
            if len(assigned) != len(partitions) * len(member.metadata.subscription):
                self._world.violate(f"{name} is assigned a partition without some of its topics")

    def _look(self) -> None:
        """Throw out whoever was not heard of."""
        silent = [
            name
            for name, each in self.members.items()
            if self._world.now - each.heard > SESSION_SECONDS
        ]
        for name in silent:
            self._world.note("group", f"{name} was not heard of")
            del self.members[name]
            self._begin()
        if silent:
            self._complete()
        self._world.after(1.0, self._look)


def _told(assignment: dict[str, Any]) -> dict[str, Any]:
    return {
        name: each
        if isinstance(each, list)
        else {
            topic.rpartition(".")[2]: partitions
            for topic, partitions in sorted(each.assignment)
            if partitions
        }
        for name, each in assignment.items()
    }
