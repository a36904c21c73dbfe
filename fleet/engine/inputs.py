"""
What of a task's inputs is done: the offsets of each topic, and the events that are open.

An event is open from its delivery until all its steps are done. A step that is done before the
others of its event leaves a mark in the state, so that only the others run again after a crash.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from fleet.engine.admission.budget import Account
from fleet.engine.ledger import Ledger
from fleet.engine.offsets import Delivery, Lost, OffsetTracker
from fleet.engine.reading import Lag, Reading
from fleet.records import state
from fleet.records.log import Delivered


@dataclass(slots=True)
class _Open:
    """The steps of one delivered event that are not done."""

    record: Delivered
    steps: set[str]
    #: Whether some of its steps were done, and marked so, before the others.
    marked: bool
    #: What it counts for in the window, in bytes.
    size: int


class Inputs:
    """The input partitions of one task."""

    def __init__(self, ledger: Ledger, window: Account, *, reads_at_once: bool = False) -> None:
        self.trackers: dict[str, OffsetTracker] = {}
        #: Events that are open, in bytes.
        self.window = window
        #: How far they were read, and when.
        self.reading = Reading(at_once=reads_at_once)
        self._ledger = ledger
        #: By topic and offset; in the order in which they were delivered, and so the oldest first.
        self._open: dict[str, dict[int, _Open]] = defaultdict(dict)

    def restore(self, topics: Iterable[str]) -> None:
        """Read the positions from the loaded state."""
        for topic in topics:
            position = self._ledger.get(state.position_key(topic))
            self.trackers[topic] = OffsetTracker.decode(position) if position else OffsetTracker()

    def deliver(self, record: Delivered) -> Delivery:
        """Note a delivered record; return what it is to this task."""
        delivery = self.trackers[record.topic].deliver(record.offset, record.appended_ms)
        if delivery is not Delivery.KNOWN:
            self.reading.delivered(record.topic, record.appended_ms)
        return delivery

    def cut(self, topic: str, begin: int) -> Lost | None:
        """Let go of what the log of *topic*, which begins at *begin*, does not have any more."""
        return self._unmarked(topic, self.trackers[topic].cut(begin))

    def passed(self, topic: str, position: int, begin: int) -> Lost | None:
        """Note that all of *topic* below *position* was delivered; see `OffsetTracker.passed`.

        Return what is gone of a predecessor's, in a log that begins at *begin*.
        """
        tracker = self.trackers[topic]
        tracker.passed(position)
        return self._unmarked(topic, tracker.cut(min(begin, position), read=True))

    def _unmarked(self, topic: str, lost: Lost | None) -> Lost | None:
        for offset in lost.pending if lost else ():
            self._ledger.open.state.delete_all(state.done_prefix(topic, offset))
        return lost

    def replace_log(self, topic: str, log_id: str, begin: int) -> None:
        """Read another log, which is *topic* from now on, from its first offset on."""
        self._ledger.open.state.delete_all(b"%b%b\0" % (state.DONE, topic.encode()))
        self.trackers[topic] = OffsetTracker(next=begin, log_id=log_id, dirty=True)

    def marked(self, record: Delivered) -> AbstractSet[str]:
        """Return the steps of an event that are done while others of it were not."""
        prefix = state.done_prefix(record.topic, record.offset)
        return {key[len(prefix) :].decode() for key, _ in self._ledger.items(prefix)}

    def open(self, record: Delivered, steps: Iterable[str], *, marked: bool) -> None:
        """Hold an event open until all of *steps* are done."""
        size = _size(record)
        self.window.add(size)
        self._open[record.topic][record.offset] = _Open(record, set(steps), marked, size)

    def step_done(self, record: Delivered, step: str) -> None:
        """Note that one step of an open event is done; the last one closes it."""
        event = self._open[record.topic][record.offset]
        event.steps.discard(step)
        if event.steps:
            prefix = state.done_prefix(record.topic, record.offset)
            self._ledger.open.state.put(prefix + step.encode(), b"")
            event.marked = True
            # With the mark goes a position that knows the event: only then is it looked for.
            self.touch(record.topic)
        else:
            self.close(record)

    def close(self, record: Delivered) -> None:
        """Note that nothing more is to be done for an open event."""
        event = self._open[record.topic].pop(record.offset)
        self.window.add(-event.size)
        self.pass_over(record, marked=event.marked)

    def pass_over(self, record: Delivered, *, marked: bool) -> None:
        """Note that nothing is to be done for a record that was not opened."""
        if marked:
            self._ledger.open.state.delete_all(state.done_prefix(record.topic, record.offset))
        self.trackers[record.topic].done(record.offset)

    def touch(self, topic: str) -> None:
        """Let the position in *topic* be part of the next commit."""
        self.trackers[topic].touch()

    def lags(self, now_ms: float) -> dict[str, Lag]:
        """Return what is not done of each topic.

        What was delivered is older than what was not, so its append times tell the age exactly.
        """
        oldest = self.reading.oldest_ms()
        for topic, events in self._open.items():
            if events:
                oldest[topic] = next(iter(events.values())).record.appended_ms
        return {
            topic: Lag(
                records=tracker.pending + self.reading.behind(topic),
                seconds=max(0.0, now_ms - oldest.get(topic, now_ms)) / 1000,
                committable=tracker.lowest,
            )
            for topic, tracker in self.trackers.items()
        }

    def have_passed(self, time_ms: float) -> bool:
        """Whether every record that was appended before *time_ms* was delivered."""
        return self.reading.have_passed(time_ms, self.trackers)

    def positions(self) -> Mapping[bytes, bytes]:
        """Return the positions that have changed, for the commit that is about to be sealed."""
        positions = {}
        for topic, tracker in self.trackers.items():
            if tracker.dirty:
                positions[state.position_key(topic)] = tracker.seal()
        return positions

    def committed(self) -> None:
        """Note that the sealed positions are in the log."""
        for tracker in self.trackers.values():
            tracker.settle()


def open_records(inputs: Inputs) -> list[Delivered]:
    """Return the events that are open, by topic in the order of their delivery."""
    topics = inputs._open.values()  # noqa: SLF001 - the file that gives it
    return [event.record for events in topics for event in events.values()]


def _size(record: Delivered) -> int:
    headers = sum(len(value or b"") for _, value in record.headers)
    return len(record.value or b"") + len(record.key or b"") + headers
