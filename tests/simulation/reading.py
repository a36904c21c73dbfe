"""Readers of streams: some are slow, and some die and continue from their cursor elsewhere."""

from dataclasses import dataclass
from random import Random

from fleet import Event, StreamRestarted

#: Share of the readers that have such habits, where any have.
_SHARE = 0.7


@dataclass(frozen=True)
class Habits:
    """How one reader reads."""

    #: Whether it sees what Fleet itself shows, too.
    exposes: bool = False
    #: How many seconds it takes for an event, at most.
    slow: float = 0.0
    #: After which of the events it dies, counted over all its lives, from 1.
    dies_after: frozenset[int] = frozenset()
    #: Whether it dies when the first restart was announced, too.
    dies_at_restart: bool = False
    #: How long it is dead, in seconds.
    away: float = 0.0
    #: Whether it comes back in another process.
    moves: bool = False

    def dies(self, shown: list[Event]) -> bool:
        """Tell whether it dies when it has seen *shown*."""
        restarts = sum(isinstance(event, StreamRestarted) for event in shown)
        announced = restarts == 1 and isinstance(shown[-1], StreamRestarted)
        return len(shown) in self.dies_after or (self.dies_at_restart and announced)


#: Of those that read to the end.
PLAIN = Habits()


def habits(seed: int, run_id: str, number: int) -> Habits:
    """Return the habits of the reader of the *number*-th call."""
    # Chance of its own: all else that happens is as without it.
    random = Random(f"reading {seed} {run_id} {number}")
    if random.random() > _SHARE:
        return Habits(exposes=random.random() < 0.5)
    return Habits(
        exposes=random.random() < 0.7,
        slow=random.choice((0.0, 0.0, 0.05, 0.4)),
        dies_after=frozenset(random.randint(1, 12) for _ in range(random.choice((0, 1, 2, 3)))),
        dies_at_restart=random.random() < 0.3,
        away=random.choice((0.0, 0.5, 3.0, 7.0)),
        moves=random.random() < 0.6,
    )
