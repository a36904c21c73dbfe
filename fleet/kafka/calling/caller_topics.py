"""
Whether the topics of a caller are still those that it began with.

A topic that was deleted and created again has none of the records that open runs wait for, and a
consumer continues at the old offsets: nothing would ever come. So a caller compares the topics' ids
(KIP-516) while it reads. See `fleet.host.log_watch` for the worker's side.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from fleet.kafka.topic_identity import UNKNOWN
from fleet.workflow.errors import WorkflowRuntimeError

#: For how many looks a topic may be missing: a starting broker may not know it at once.
MISSING_LOOKS = 3


class TopicReplaced(WorkflowRuntimeError):
    """Raised to callers that await a run when its topic was deleted and created again.

    What to do: Start the run again with a new run id. The worker's log says what was lost.
    """

    def __init__(self, topic: str, before: str, now: str) -> None:
        super().__init__(
            f"{topic} was deleted and created again (it was {before} and is {now}), so this call "
            "hears nothing more of its run, which may be lost. Start it again with a new run_id; "
            "the log of a worker of the workflow says what was lost"
        )


class TopicGone(WorkflowRuntimeError):
    """Raised to callers that await a run when a topic of its workflow was deleted.

    What to do: Create the topic with `fleet topics apply`, and start the run again with a new run
    id.
    """

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"{topic} was deleted, so this call hears nothing more of its run, which may be lost. "
            "Create the topic with `fleet topics apply`, and start the run again with a new run_id"
        )


class CallerTopics:
    """The ids of the topics that a caller reads and writes."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)
        self._ids: dict[str, str] = {}
        self._missing: Counter[str] = Counter()

    def compare(self, found: Mapping[str, str]) -> WorkflowRuntimeError | None:
        """Compare with the ids that the broker has now; return a problem, once."""
        problem: WorkflowRuntimeError | None = None
        for name, now in sorted(found.items()):
            before = self._ids.get(name, UNKNOWN)
            if UNKNOWN not in (before, now) and before != now:
                problem = TopicReplaced(name, before, now)
            self._ids[name] = now or before
        missing = self._ids.keys() - found.keys()
        self._missing = Counter({name: self._missing[name] + 1 for name in missing})
        gone = [name for name, looks in self._missing.items() if looks == MISSING_LOOKS]
        return problem or (TopicGone(min(gone)) if gone else None)
