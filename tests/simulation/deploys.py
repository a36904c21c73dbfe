"""
Deployments within a history: workers of two versions, one of which knows two more event types.

The last deployment is of the later version, for a run that needs it can end nowhere else; after
that, when all runs have ended, some histories go back, as one does that removes an event type.
"""

from dataclasses import dataclass
from random import Random

#: When the last deployment begins, in seconds of the history: after every fault.
LAST = 31.0


@dataclass(frozen=True)
class Version:
    """What a worker process was made of."""

    #: Which of `grown.FLOWS` it runs.
    flow: str
    #: Whether it leads a group with Faust's own assignor, as versions of Fleet before this one.
    fausts: bool = False


@dataclass(frozen=True)
class Deployment:
    """Workers are replaced, one after the other."""

    at: float
    version: Version
    #: How many, at most: a deployment that gets stuck leaves the others.
    count: int
    #: Between two of them.
    seconds: float


@dataclass(frozen=True)
class Mix:
    """The deployments of one history."""

    first: Version
    deployments: tuple[Deployment, ...]
    #: When an event of a type that only the later version knows comes from outside, and for which
    #: run.
    hints: tuple[tuple[float, int], ...]
    #: Runs whose step fails that only the later version has.
    failing: frozenset[int]
    #: The earlier version comes back when all runs have ended.
    removed: bool
    #: When every run is cancelled.
    cancelled_at: float | None = None
    #: After each hint, and before the run's start, an event comes that every version knows.
    seen_again: bool = False


def mix(seed: int, once: float | None) -> Mix | None:
    """Return the deployments of a seed, if it has any.

    *once* is when the first run begins, in a history in which ended runs are forgotten soon.
    """
    # Chance of its own: a history of one version is the same with and without it.
    random = Random(f"mix {seed}")
    if random.random() > 0.2:
        return None
    if Random(f"held {seed}").random() < 0.1:
        return _held()
    if once is not None and random.random() < 0.4:
        return _lingering(random, once)
    count = random.choice((1, 1, 2, 3))
    times = sorted(random.uniform(3, 25) for _ in range(count))
    first = _version(random)
    flow, deployments = first.flow, []
    for at in times:
        flow = "grown" if flow == "plain" else "plain"
        deployments.append(_deployment(random, at, flow))
    last = Deployment(LAST, Version("grown"), 99, random.uniform(0, 3))
    return Mix(
        first=first,
        deployments=(*deployments, last),
        hints=tuple(
            (random.uniform(4, 20), random.randrange(4)) for _ in range(random.choice((0, 1, 2)))
        ),
        failing=frozenset(each for each in range(4) if random.random() < 0.2),
        removed=random.random() < 0.3,
    )


def _held() -> Mix:
    """Let hints wait for the later version until their runs have ended."""
    return Mix(
        first=Version("plain"),
        deployments=(Deployment(LAST, Version("grown"), 99, 0.0),),
        # As early as that may be.
        hints=tuple((0.0, number) for number in range(4)),
        failing=frozenset(),
        removed=False,
        seen_again=True,
    )


def _lingering(random: Random, begun: float) -> Mix:
    """Go back for long, and end all runs meanwhile: events that nobody reads outlive them."""
    at, seconds = begun + random.uniform(0.5, 2.5), random.uniform(0, 1)
    back = Deployment(at, Version("plain"), 99, seconds)
    return Mix(
        first=Version("grown"),
        deployments=(back, Deployment(LAST + 40, Version("grown"), 99, seconds)),
        hints=(),
        failing=frozenset(),
        removed=False,
        cancelled_at=at + random.uniform(1, 6),
    )


def _version(random: Random) -> Version:
    return Version(random.choice(("plain", "plain", "grown")), fausts=random.random() < 0.3)


def _deployment(random: Random, at: float, flow: str) -> Deployment:
    version = Version(flow, fausts=random.random() < 0.15)
    return Deployment(at, version, random.choice((1, 1, 2, 99)), random.uniform(0, 6))
