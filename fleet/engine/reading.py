"""How far a task has read its inputs, and how old what it has not finished is."""

from collections.abc import Iterable
from typing import NamedTuple


class Lag(NamedTuple):
    """What of one input partition is not done."""

    records: int
    #: Age of the oldest, in seconds.
    seconds: float
    #: The lowest offset that is not done.
    committable: int


class Reading:
    """Up to when, in broker time, the input topics of one task were read."""

    def __init__(self, *, at_once: bool = False) -> None:
        #: Whether what is appended is delivered in the next turn of the loop.
        self._at_once = at_once
        #: Topics that this version does not read, and in which events wait for one that does.
        self._unread: frozenset[str] = frozenset()
        #: By topic: every record that was appended before this broker time was delivered.
        self._seen_ms: dict[str, float] = {}
        #: By topic: how many records were not delivered yet, and since when that is known, in
        #: broker time.
        self._behind: dict[str, tuple[int, float]] = {}

    def delivered(self, topic: str, appended_ms: float) -> None:
        """Note a record that was delivered."""
        self._seen_ms[topic] = appended_ms

    def reaches(self, topic: str, left: int, now_ms: float) -> None:
        """Note that *left* records of *topic* are to be delivered, as of *now_ms* in broker time.

        Zero or less: everything was delivered.
        """
        if left > 0:
            self._behind[topic] = left, self._behind.get(topic, (0, now_ms))[1]
        else:
            self._seen_ms[topic] = now_ms
            self._behind.pop(topic, None)

    def forget_times(self) -> None:
        """Forget up to when the inputs were read: the clock that told it was set back since.

        Else what is appended from now on would count as delivered, by times that come again.
        """
        self._seen_ms.clear()

    def loaded(self, topic: str) -> None:
        """Note that *topic* was read up to its end, however old the last record is."""
        self._seen_ms.pop(topic, None)

    def leaves_unread(self, topics: frozenset[str]) -> None:
        """Note topics that this version does not read, in which events wait for one that does."""
        self._unread = topics

    def have_passed(self, time_ms: float, topics: Iterable[str]) -> bool:
        """Whether every record of *topics* that was appended before *time_ms* was delivered.

        Never while some wait for another version of the workflow.
        """
        return not self._unread and self._have_brought(time_ms, topics)

    def have_brought(self, time_ms: float, topics: Iterable[str]) -> bool:
        """Whether this task was given every record of *topics* appended before *time_ms*."""
        return self._at_once or self._have_brought(time_ms, topics)

    def _have_brought(self, time_ms: float, topics: Iterable[str]) -> bool:
        return all(self._seen_ms.get(topic, 0) > time_ms for topic in topics)

    def behind(self, topic: str) -> int:
        """Return how many records of *topic* were not delivered yet."""
        return self._behind.get(topic, (0, 0.0))[0]

    def oldest_ms(self) -> dict[str, float]:
        """Return by topic about when the oldest record was appended that was not delivered.

        It is not older than the last one that was delivered, and hardly younger; if none was, its
        age counts from when it was seen that there is some.
        """
        return {
            topic: self._seen_ms.get(topic, since_ms)
            for topic, (_, since_ms) in self._behind.items()
        }
