"""What a workload and a contender have to know of each other."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks import answers

#: What was measured, by name; the unit is the name's end.
Figures = dict[str, float]

PARTITIONS = 8


async def nothing() -> Figures:
    """Return no figures, as of a contender that keeps nothing anywhere."""
    return {}


@dataclass(frozen=True)
class Scene:
    """One measurement: where, and how much."""

    #: `host:port` of the broker.
    bootstrap: str
    #: Process id of the broker where it was started for this; 0 where it was not.
    broker_pid: int
    #: Of this measurement alone.
    folder: Path
    #: First part of the topics' names; of this measurement alone.
    prefix: str
    #: 1 is the workload as it is described.
    scale: float
    #: How long each step of the joke flow takes.
    step_seconds: float = 0.0
    partitions: int = PARTITIONS
    #: For the contender's processes.
    variables: dict[str, str] = field(default_factory=dict)

    def count(self, full: int) -> int:
        """Return how many of *full* are to be done at this scale."""
        return max(1, round(full * self.scale))


@dataclass(frozen=True)
class Line:
    """A contender that runs: how to start a run, and which processes do the work."""

    #: Takes the topic of a run, returns its result.
    run: Callable[[str], Awaitable[str]]
    pids: tuple[int, ...]
    #: Takes the topic of a run, returns the right result.
    expected: Callable[[str], str] = answers.expected
    #: Counts the records in its topics.
    written: Callable[[], Awaitable[Figures]] = nothing
    #: Counts what it keeps of runs that have ended.
    left: Callable[[], Awaitable[Figures]] = nothing


class Contender(Protocol):
    """A module under `contenders`."""

    #: One sentence for people.
    ABOUT: str
    #: What it can do.
    WORKLOADS: tuple[str, ...]

    def missing(self) -> str:
        """Return why it cannot run here; empty where it can."""
        ...

    def serving(self, scene: Scene) -> AbstractAsyncContextManager[Line]:
        """Run its processes for the time of a block."""
        ...


class Workload(Protocol):
    """A module under `workloads`."""

    ABOUT: str
    #: How long each step of the flow takes.
    STEP_SECONDS: float
    #: After so long, at scale 1, a measurement is given up.
    PATIENCE_SECONDS: int

    async def measure(self, contender: Contender, scene: Scene) -> Figures:
        """Do the work; `runs` and `wrong` are among the figures."""
        ...
