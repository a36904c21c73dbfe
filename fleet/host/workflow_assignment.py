"""
All topics of a workflow are assigned alike, whatever single members subscribe to.

While a deployment adds or removes an event type, some members read a topic that others do not.
Faust's assignor spreads such a topic among its readers, apart from the workflow's other topics, and
then two members have the same partition. So we show the assignor every member that reads a
workflow's `runs` as a reader of all the workflow's topics. Afterwards we take the topics that a
member does not read out of its assignment. Partition p of each topic goes to the member that has
`runs` p, or to no member: the records wait until a member that reads the topic has `runs` p.

The names alone tell which topics belong together: the leader may run a version that knows fewer of
them.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

_RUNS, _INBOX = "runs", "inbox"


def runs_topics(topics: Iterable[str]) -> dict[str, str]:
    """Return the topic `runs` of the workflow of each of *topics* that belongs to one."""
    every = set(topics)
    stems = {_stem(topic) for topic in every if _is_runs(topic, every)}
    return {topic: f"{stem}.{_RUNS}" for topic in every if (stem := _stem(topic)) in stems}


def _is_runs(topic: str, every: AbstractSet[str]) -> bool:
    stem, _, name = topic.rpartition(".")
    return bool(stem) and name == _RUNS and f"{stem}.{_INBOX}" in every


def _stem(topic: str) -> str:
    return topic.rpartition(".")[0]


def widened(subscription: Iterable[str], runs: Mapping[str, str]) -> list[str]:
    """Return the topics that a member is shown to read: whole workflows, and other topics."""
    subscribed = set(subscription)
    whole = {topic for topic, lead in runs.items() if lead in subscribed}
    return sorted((subscribed - runs.keys()) | whole)


def alike(held: Mapping[str, Any], runs: Mapping[str, str]) -> dict[str, Any]:
    """Return the partitions that a member held, by topic, as if it held them by `runs` alone.

    Faust keeps partitions with their member, and looks at any topic of a workflow for that.
    """
    others = {topic: partitions for topic, partitions in held.items() if topic not in runs}
    return others | {topic: held[lead] for topic, lead in runs.items() if held.get(lead)}


def narrowed(
    assigned: Mapping[str, Any], subscription: Iterable[str], runs: Mapping[str, str]
) -> dict[str, Any]:
    """Return a member's assigned partitions, by topic, without topics that it does not read."""
    unread = runs.keys() - set(subscription)
    return {topic: partitions for topic, partitions in assigned.items() if topic not in unread}


def is_split(assigned: Mapping[str, Iterable[int]], subscription: AbstractSet[str]) -> bool:
    """Tell whether a member has other partitions of a topic that it reads than of its `runs`."""
    return any(
        set(assigned.get(topic, ())) != set(assigned.get(lead, ()))
        for topic, lead in runs_topics(subscription).items()
    )
