"""The guards of callers: outages, readers that fail, streams, results that cannot be read."""

import asyncio
from typing import Any

from fleet.client.follower import Follower
from fleet.client.streams import beginning, shown
from fleet.client.streams.event_stream import EventStream
from fleet.client.streams.reader import EventReader
from fleet.client.streams.shown import Shown
from fleet.client.waits import Waits
from fleet.kafka.calling.stream_ends import StreamEnds
from fleet.kafka.topic_reader import StallWatch
from fleet.kafka.transport import KafkaTransport
from fleet.kafka.writer import Writer
from fleet.records.envelope import Envelope
from fleet.records.events import Event
from fleet.records.log import Delivered, Outgoing
from fleet.workflow import definition
from fleet.workflow.calling import results
from fleet.workflow.calling.results import Outcome
from simulation.mutations.registry import instead_of

# -- what is sent ---------------------------------------------------------------------------------


@instead_of(Writer, "_handed_over")
async def _a_record_that_is_not_taken_is_not_tried_again(
    self: Any, record: Outgoing, partition: int
) -> Any:
    return await self._hand_over(record, partition)


@instead_of(Writer, "_replace", near=275)
async def _a_producer_with_a_gap_is_kept(self: Any) -> None:
    self._unsound = False
    await asyncio.sleep(0)


_append = Writer.append


@instead_of(Writer, "append", near=636)
async def _an_event_in_doubt_is_written_again(
    self: Any, record: Outgoing, partition: int, *, repeatable: bool
) -> None:
    del repeatable
    await _append(self, record, partition, repeatable=True)


@instead_of(Writer, "append", near=99)
async def _a_start_in_doubt_is_given_up(
    self: Any, record: Outgoing, partition: int, *, repeatable: bool
) -> None:
    del repeatable
    await _append(self, record, partition, repeatable=False)


# -- what is followed -----------------------------------------------------------------------------

_follow_wanted = KafkaTransport._follow_wanted


@instead_of(KafkaTransport, "_follow_wanted", near=146)
async def _positions_are_taken_before_the_ends_are_asked_for(self: Any) -> None:
    before = dict(self._positions)
    new = self._wanted - self._followed
    await _follow_wanted(self)
    if new:
        self._positions |= before
        self._place()


@instead_of(KafkaTransport, "follow", near=133)
async def _a_partition_that_cannot_be_followed_is_not_tried_again(self: Any, run_id: str) -> None:
    partition = self._partition(run_id)
    self._open[partition] += 1
    if partition not in self._followed:
        self._wanted.add(partition)
        async with self._following:
            await self._follow_wanted()


_reconnect = KafkaTransport._reconnect


@instead_of(KafkaTransport, "_reconnect", near=36)
async def _a_consumer_that_failed_is_kept(self: Any) -> None:
    await asyncio.Event().wait()
    await _reconnect(self)


@instead_of(KafkaTransport, "_reconnect", near=275)
async def _a_new_consumer_reads_from_the_end(self: Any) -> None:
    await _reconnect(self)
    broker = self._consumer.connection.broker
    self._positions |= {tp: broker.at(tp).end for tp in self._positions}
    self._place()


@instead_of(StallWatch, "is_stalled", near=44)
def _a_stalled_consumer_is_not_noticed(*_: Any) -> bool:
    return False


@instead_of(StreamEnds, "_ask_again", near=275)
def _the_end_of_a_stream_is_asked_for_once(*_: Any) -> None:
    """Whoever waits for it waits for ever."""


# -- what is read ---------------------------------------------------------------------------------


@instead_of(Shown, "_is_new")
def _numbers_are_not_looked_at(*_: Any) -> bool:
    return True


@instead_of(Shown, "_is_current", near=70)
def _older_attempts_are_shown(self: Any, attempts: Any, attempt: str) -> bool:
    del self
    if attempt != attempts.current:
        attempts.current, attempts.following = attempt, None
    return True


@instead_of(shown, "_began", near=252)
def _attempts_count_in_the_order_in_which_they_show(attempt: str) -> int:
    del attempt
    return 0


@instead_of(results, "_completed", near=403)
def _a_result_type_may_raise(workflow: Any, completed: Any) -> Outcome:
    event = results.event(workflow, completed.event_type, completed.event.encode())
    return Outcome(event=event, result=definition.result_of(workflow, event))


_end_stream = Waits._end_stream


@instead_of(Waits, "_end_stream")
def _a_stream_does_not_say_how_its_run_failed(
    self: Any, run: Any, event: Event | None = None
) -> None:
    _end_stream(self, run, event if run.handler.exception() is None else None)


_look_back_soon = Follower._look_back_soon


@instead_of(Follower, "_look_back_soon", near=846)
def _what_comes_while_looking_back_counts(
    self: Any, waiting: Any, offset: int, *, is_end: bool = False
) -> None:
    _look_back_soon(self, waiting, offset, is_end=is_end)
    waiting.held, waiting.end_from = None, offset


@instead_of(Shown, "take")
def _what_is_shown_is_lost(self: Any, envelope: Envelope) -> int | None:
    del self
    return None if envelope.event_id.endswith("-0") else 0


@instead_of(Follower, "look_for_end", near=14)
async def _a_run_of_others_is_followed_from_now_on(
    self: Any, run: Any, offset: int, *, is_end: bool = False
) -> bool:
    del offset, is_end
    run.answered = True
    run.count_from(self._transport.followed_from(run.handler.run_id))
    await asyncio.sleep(0)
    return True


# -- streams that are read again ------------------------------------------------------------------


@instead_of(EventReader, "_is_due")
def _who_comes_back_sees_all_again(*_: Any) -> bool:
    return True


@instead_of(EventReader, "_is_due", near=81)
def _an_announced_restart_counts_as_its_event(
    self: Any, record: Delivered, envelope: Envelope, _part: int
) -> bool:
    after = self._after
    return after is None or (record.offset > after.offset and envelope.epoch > after.ended)


@instead_of(EventReader, "_is_due", near=854)
def _what_comes_after_the_end_is_shown(
    self: Any, record: Delivered, _envelope: Envelope, part: int
) -> bool:
    return self._after is None or (record.offset, part) > self._after.place


_find_place = EventReader._find_place


@instead_of(EventReader, "_find_place", near=81)
async def _who_comes_back_does_not_know_what_was_before(self: Any) -> None:
    await _find_place(self)
    if self._begin is not None and self._after is not None:
        self._next = self._after.offset + 1
        self._shown.miss_some()


@instead_of(EventReader, "_restart")
def _a_restart_is_not_announced(*_: Any) -> None:
    """Its events come without a word."""


_take = Shown.take


@instead_of(Shown, "take", near=36)
def _one_event_is_void(self: Any, envelope: Envelope) -> int | None:
    void = _take(self, envelope)
    return min(void, 1) if void is not None else None


_finish = EventReader._finish


@instead_of(EventReader, "_finish")
def _who_has_read_the_end_reads_it_again(self: Any, begin: int) -> None:
    if self._at is not None:
        self._at = self._at._replace(ended=-1)
    _finish(self, begin)


_begins = EventStream.begins


@instead_of(EventStream, "begins")
def _who_comes_late_sees_what_follows(self: Any, _beginning: Any = None) -> None:
    _begins(self)


@instead_of(beginning, "_seen_ms")
def _a_run_begins_when_it_ends(found: Any) -> int:
    return 2**50 if found.end is not None else 0


_followed_from = EventStream.followed_from


@instead_of(EventStream, "followed_from")
def _what_was_shown_before_is_said_to_be_here(self: Any, offset: int) -> None:
    _followed_from(self, offset)
    self._kept_from = 0


@instead_of(EventStream, "_shorten")
def _who_is_slow_misses_what_is_dropped(self: Any) -> None:
    self._kept = self._kept[2:]


@instead_of(EventReader, "_read_page")
async def _a_page_is_skipped(self: Any) -> None:
    await asyncio.sleep(0)
    self._next = self._stream.kept_from
