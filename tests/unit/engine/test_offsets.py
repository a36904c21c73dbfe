"""The frontier against a model: nothing is lost, nothing that is done is worked on again."""

import random

import pytest

from fleet.engine.offsets import MOST_GAPS, Delivery, Lost, OffsetTracker
from fleet.records.position import Position


def delivered(*offsets: int) -> OffsetTracker:
    """Return a frontier that was handed these offsets."""
    tracker = OffsetTracker()
    for offset in offsets:
        assert tracker.deliver(offset) is Delivery.NEW
    return tracker


class TestDeliver:
    def test_a_new_record_is_work(self) -> None:
        """Offsets that were never seen are to be worked on, in the order of the partition."""
        tracker = delivered(0, 1, 2)
        assert (tracker.next, tracker.pending, tracker.lowest) == (3, 3, 0)

    def test_a_record_that_is_being_worked_on_is_not_started_again(self) -> None:
        """After a rebalance the same record may come while its steps still run."""
        tracker = delivered(0, 1)
        assert tracker.deliver(0) is Delivery.KNOWN
        assert tracker.pending == 2

    def test_a_record_that_is_done_is_skipped(self) -> None:
        """The state is the truth about what is done, whatever the consumer group thinks."""
        tracker = delivered(0, 1)
        tracker.done(1)
        assert tracker.deliver(1) is Delivery.KNOWN
        assert tracker.lowest == 0

    def test_offsets_that_nobody_sees_are_passed(self) -> None:
        """Transaction markers and aborted records leave gaps, in which nothing is to be done."""
        tracker = delivered(3, 7)
        tracker.done(3)
        assert tracker.lowest == 7
        tracker.done(7)
        assert (tracker.lowest, tracker.unseen) == (8, 8)

    def test_a_slow_head_holds_the_frontier_only(self) -> None:
        """What is done beyond it is done."""
        tracker = delivered(0, 1, 2, 3)
        for offset in (1, 2, 3):
            tracker.done(offset)
        assert (tracker.lowest, tracker.next, tracker.pending) == (0, 4, 1)
        tracker.done(0)
        assert tracker.lowest == 4

    def test_only_what_is_pending_can_be_done(self) -> None:
        """Done twice would hide that a step ran twice."""
        tracker = delivered(0)
        tracker.done(0)
        with pytest.raises(KeyError):
            tracker.done(0)

    def test_something_done_is_something_to_commit(self) -> None:
        """Deliveries alone change no position record."""
        tracker = delivered(0)
        assert not tracker.dirty
        tracker.done(0)
        assert tracker.dirty


class TestRestore:
    def test_a_position_record_comes_back(self) -> None:
        """Its pending offsets wait to be delivered again, the lowest first."""
        tracker = delivered(0, 2, 4, 5)
        tracker.done(2)
        restored = OffsetTracker.decode(tracker.seal())
        assert (restored.next, restored.lowest, restored.unseen) == (6, 0, 0)
        assert restored.committed == 0
        assert [restored.deliver(offset) for offset in (0, 2, 4, 5, 6)] == [
            Delivery.AGAIN,
            Delivery.KNOWN,
            Delivery.AGAIN,
            Delivery.AGAIN,
            Delivery.NEW,
        ]

    def test_unseen_is_where_to_read_on(self) -> None:
        """First at what waits to be delivered again, then at what is new."""
        restored = OffsetTracker.restored(10, [8, 3])
        assert restored.unseen == 3
        restored.deliver(3)
        assert restored.unseen == 8
        restored.deliver(8)
        assert (restored.unseen, restored.lowest) == (10, 3)

    def test_a_new_partition_begins_at_its_beginning(self) -> None:
        """Without a position record nothing is done."""
        assert (OffsetTracker().unseen, OffsetTracker().lowest, OffsetTracker().committed) == (
            0,
            0,
            0,
        )

    def test_the_record_does_not_change_between_versions(self) -> None:
        """It is in changelogs: `next`, then the pending offsets."""
        tracker = delivered(1, 2, 5)
        tracker.done(2)
        assert tracker.seal() == b"[6,[1,5]]"


class Partition:
    """A log with gaps, a task that crashes, and what is known of both."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.offsets = [offset for offset in range(60) if chance.random() < 0.7]
        self.tracker = OffsetTracker()
        self.committed = self.tracker.seal()
        #: What the last commit knows to be done.
        self.done_committed: set[int] = set()
        self.done: set[int] = set()
        self.working: set[int] = set()
        self.position = 0

    def deliver(self) -> None:
        """Hand on the next record, where there is one."""
        rest = [offset for offset in self.offsets if offset >= self.position]
        if rest:
            offset = rest[0]
            self.position = offset + 1
            starts = self.tracker.deliver(offset) is not Delivery.KNOWN
            assert starts == (offset not in self.done | self.working)
            self.working |= {offset} if starts else set()

    def finish(self) -> None:
        """End one of the records that are worked on."""
        if self.working:
            offset = self.chance.choice(sorted(self.working))
            self.working.remove(offset)
            self.done.add(offset)
            self.tracker.done(offset)

    def seek(self) -> None:
        """Read again from some earlier point, as after a rebalance."""
        self.position = self.chance.randint(0, self.tracker.unseen)

    def commit(self) -> None:
        """Keep the position record."""
        self.committed = self.tracker.seal()
        self.done_committed = set(self.done)

    def crash(self) -> None:
        """Begin anew from the last commit, at the unseen offset or anywhere before."""
        self.tracker = OffsetTracker.decode(self.committed)
        self.done, self.working = set(self.done_committed), set()
        self.seek()

    def check(self) -> None:
        """Compare the frontier with what is known."""
        seen = {offset for offset in self.offsets if offset < self.tracker.next}
        assert self.tracker.pending == len(seen - self.done)
        assert self.tracker.lowest == min(seen - self.done, default=self.tracker.next)
        waiting = seen - self.done - self.working
        assert self.tracker.unseen == min(waiting, default=self.tracker.next)
        assert self.position <= self.tracker.next


@pytest.mark.parametrize("seed", range(60))
def test_any_history_loses_nothing_and_repeats_nothing(seed: int) -> None:
    """Deliveries, ends, seeks, commits and crashes in any order: each record is done once."""
    partition = Partition(random.Random(seed))
    acts = [partition.deliver, partition.finish, partition.commit, partition.seek, partition.crash]
    for act in partition.chance.choices(acts, weights=[12, 10, 4, 1, 1], k=300):
        act()
        partition.check()
    partition.crash()
    while partition.position <= max(partition.offsets) or partition.working:
        partition.deliver()
        partition.finish()
        partition.check()
    assert partition.done == set(partition.offsets)
    assert partition.tracker.lowest == max(partition.offsets) + 1


class TestLosses:
    def test_what_is_gone_below_the_beginning_is_let_go_of(self) -> None:
        """Pending offsets of a predecessor and unread ones are lost, and hold nothing up."""
        restored = OffsetTracker.restored(10, [3, 8])

        assert restored.cut(12) == Lost(pending=(3, 8), unread=((10, 12),))
        assert (restored.lowest, restored.next, restored.pending) == (12, 12, 0)
        assert restored.cut(12) is None

    def test_what_a_worker_has_in_hand_is_not_lost(self) -> None:
        """A record that was delivered here is finished here, whether the log has it or not."""
        tracker = delivered(0, 1)

        assert tracker.cut(2) is None
        assert tracker.pending == 2

    def test_offsets_that_were_skipped_are_judged_by_a_later_beginning(self) -> None:
        """Skipped offsets that the log still has are markers; those it has not are lost."""
        for begin, lost in ((0, None), (3, Lost((), ((1, 3),))), (9, Lost((), ((1, 5),)))):
            tracker = delivered(0, 5)
            tracker.ask()
            assert tracker.skipped(begin) == lost

    def test_a_gap_that_was_not_judged_outlives_its_worker(self) -> None:
        """It is part of the position, so the next worker judges it."""
        restored = OffsetTracker.decode(_known(delivered(0, 5)).seal())
        restored.ask()

        assert restored.skipped(3) == Lost((), ((1, 3),))

    def test_what_was_read_between_two_gaps_is_not_lost(self) -> None:
        """Neither for the worker that has read it nor, by the position, for the next one."""
        tracker = _known(delivered(0, 2, 5))
        tracker.passed(7)
        restored = OffsetTracker.decode(tracker.seal())

        for judging in (tracker, restored):
            judging.ask()
            assert judging.skipped(9) == Lost((), ((1, 2), (3, 5), (6, 7)))

    def test_a_gap_that_is_passed_and_continues_is_one(self) -> None:
        """A reader passes markers, and finds more of them before the next record."""
        tracker = delivered(0)
        tracker.passed(3)
        tracker.deliver(6)
        tracker.ask()

        assert tracker.skipped(4) == Lost((), ((1, 4),))

    def test_gaps_of_which_there_are_too_many_are_joined_to_their_nearest(self) -> None:
        """A position stays short; whatever was skipped is in one of them."""
        offsets = [number * number for number in range(1, 4 * MOST_GAPS)]
        tracker = _known(delivered(*offsets))
        tracker.ask()
        tracker.deliver(100_000)
        position = Position.decode(tracker.seal())

        skipped = set(range(100_000)) - set(offsets)
        kept = {offset for first, end in position.gaps for offset in range(first, end)}
        assert len(position.gaps) == MOST_GAPS
        assert skipped <= kept
        assert not kept & set(offsets[-MOST_GAPS + 1 :])

    def test_a_position_names_its_log(self) -> None:
        """Also one that nobody has read in yet; records of older versions name none."""
        restored = OffsetTracker.decode(OffsetTracker(log_id="id", last_offset=4, last_ms=7).seal())

        assert (restored.log_id, restored.last_offset, restored.last_ms) == ("id", 4, 7)
        assert OffsetTracker.decode(b"[5,[3]]") == OffsetTracker.restored(5, [3])


def _known(tracker: OffsetTracker) -> OffsetTracker:
    tracker.log_id = "id"
    return tracker
