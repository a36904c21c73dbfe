"""
What a run of the fan-out says at each of its steps: the same words by all contenders.

A run has parts; each is worked on by itself, and a join makes one verdict of what came of them.
"""

import os
from collections.abc import Iterable

#: How many parts a run has whose topic does not say it, and how many may be at work at once.
VARIABLE = "BENCH_BRANCHES"


def branches() -> int:
    """Return what BENCH_BRANCHES says."""
    return int(os.environ.get(VARIABLE, "100"))


def of(count: int, topic: str) -> str:
    """Return a topic whose run has so many parts."""
    return f"{count}:{topic}"


def parts(topic: str, default: int) -> list[str]:
    """Return the parts of a topic."""
    return [f"{number} of {topic}" for number in range(count(topic, default))]


def worked(part: str) -> str:
    """Return what comes of a part."""
    return f"good: {part}"


def verdict(topic: str, found: Iterable[str], default: int) -> str:
    """Return the result of a run that found this for its parts, in any order."""
    wanted = sorted(worked(part) for part in parts(topic, default))
    return expected(topic, default) if sorted(found) == wanted else f"not the parts of {topic}"


def expected(topic: str, default: int) -> str:
    """Return the right result of a run."""
    return f"{count(topic, default)} parts of {topic}"


def count(topic: str, default: int) -> int:
    """Return how many parts the run of a topic has."""
    number, colon, _ = topic.partition(":")
    return int(number) if colon else default
