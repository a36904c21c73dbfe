"""Many histories one after the other, as a process of its own runs them."""

import gc
import logging
from dataclasses import dataclass, field
from typing import Any, Self

from simulation.history import simulate


@dataclass
class Block:
    """What became of some histories."""

    histories: int = 0
    callbacks: int = 0
    attempts: int = 0
    #: Workers that were killed.
    killed: int = 0
    #: What was violated, by seed.
    broken: dict[int, str] = field(default_factory=dict)

    @property
    def first_broken(self) -> int | None:
        """The lowest seed whose history broke a promise."""
        return min(self.broken, default=None)

    def add(self, block: "Block") -> None:
        """Count another block's histories, too."""
        self.histories += block.histories
        self.callbacks += block.callbacks
        self.attempts += block.attempts
        self.killed += block.killed
        self.broken |= block.broken

    @classmethod
    def restored(cls, fields: dict[str, Any]) -> Self:
        """Return a block as it was before it was written as JSON."""
        broken = {int(seed): what for seed, what in fields["broken"].items()}
        return cls(**{**fields, "broken": broken})


def run_block(first: int, count: int) -> Block:
    """Run the histories of *count* seeds from *first*."""
    logging.disable()
    # A history makes much garbage, and most of what was imported is looked at for nothing.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    block = Block()
    for seed in range(first, first + count):
        verdict = simulate(seed)
        block.histories += 1
        block.callbacks += verdict.turns
        block.attempts += verdict.attempts
        block.killed += sum(what == "is killed" for _, _, what in verdict.trace)
        if verdict.violations:
            block.broken[seed] = verdict.violations[0]
    return block
