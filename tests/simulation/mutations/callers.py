"""The guards of callers: outages, readers that fail, streams, results that cannot be read."""

import asyncio
from typing import Any

from fleet.client import shown
from fleet.client.follower import Follower
from fleet.client.shown import Shown
from fleet.client.waits import Waits
from fleet.kafka.calling.stream_ends import StreamEnds
from fleet.kafka.topic_reader import StallWatch
from fleet.kafka.transport import KafkaTransport
from fleet.kafka.writer import Writer
from fleet.records.envelope import Envelope
from fleet.records.events import Event
from fleet.records.log import Outgoing
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


@instead_of(Writer, "append", near=597)
async def _an_event_in_doubt_is_written_again(
    self: Any, record: Outgoing, partition: int, *, repeatable: bool
) -> None:
    del repeatable
    await _append(self, record, partition, repeatable=True)


@instead_of(Writer, "append", near=74)
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


@instead_of(StreamEnds, "_ask_again", near=182)
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


@instead_of(shown, "_began", near=70)
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


_close = Waits.close


@instead_of(Waits, "close")
def _an_end_overtakes_what_its_run_shows(self: Any, run: Any, outcome: Outcome) -> None:
    if outcome.event is not None and not run.handler.is_done():
        run.handler.show(outcome.event)
    _close(self, run, outcome._replace(event=None))


_look_back_soon = Follower._look_back_soon


@instead_of(Follower, "_look_back_soon", near=846)
def _what_comes_while_looking_back_counts(
    self: Any, waiting: Any, offset: int, *, is_end: bool = False
) -> None:
    _look_back_soon(self, waiting, offset, is_end=is_end)
    waiting.held, waiting.end_from = None, offset


@instead_of(Shown, "is_next")
def _what_is_shown_is_lost(self: Any, envelope: Envelope) -> bool:
    del self
    return not envelope.event_id.endswith("-0")


@instead_of(Follower, "look_for_end", near=14)
async def _a_run_of_others_is_followed_from_now_on(
    self: Any, run: Any, offset: int, *, is_end: bool = False
) -> bool:
    del offset, is_end
    run.answered = True
    run.count_from(self._transport.followed_from(run.handler.run_id))
    await asyncio.sleep(0)
    return True
