"""The guards of transactions over connections that break and brokers that fail."""

from dataclasses import replace
from typing import Any

from aiokafka.errors import InvalidProducerIdMapping

from fleet.engine.log import Receipt
from fleet.kafka import transactional_producer
from fleet.kafka.producer_errors import BatchesRefused
from fleet.kafka.producer_thread import ThreadedProducer
from fleet.kafka.transactional_log import KafkaLog
from fleet.kafka.transactional_producer import TransactionalProducer
from simulation.mutations.registry import instead_of

_coordinate, _renew = TransactionalProducer._coordinate, TransactionalProducer._renew
_receipt, _end = KafkaLog._receipt, TransactionalProducer.end


@instead_of(TransactionalProducer, "_fail")
def _the_numbers_of_a_batch_in_doubt_are_used_again(self: Any, failures: Any, _: Any) -> None:
    for failure in failures.values():
        if isinstance(failure, transactional_producer.FATAL):
            raise failure
    del self
    raise BatchesRefused(failures)


@instead_of(TransactionalProducer, "_coordinate", near=565)
async def _a_request_that_was_not_answered_may_come_late(self: Any, request: Any) -> Any:
    before = self._in_doubt
    try:
        return await _coordinate(self, request)
    finally:
        self._in_doubt = before


@instead_of(TransactionalProducer, "_renew", near=1887)
async def _another_epoch_is_taken_from_whoever_has_it(self: Any) -> None:
    wire = self._producer
    known = wire.connection.broker.ids[wire.name]
    self._renewed = self.identity._replace(producer_id=known.number, producer_epoch=known.epoch)
    await _renew(self)


@instead_of(TransactionalProducer, "end")
async def _an_epoch_is_not_ended(self: Any, *, commit: bool) -> None:
    self._in_doubt = False
    await _end(self, commit=commit)


@instead_of(KafkaLog, "_receipt", near=1048)
def _a_duplicate_moves_the_state_to_nowhere(self: Any, acknowledged: Any) -> Receipt:
    found = _receipt(self, acknowledged)
    last = [each.offset for each in acknowledged if each.topic == self._state_topic]
    return replace(found, state_offset=max(last, default=0))


_abort = KafkaLog._abort


@instead_of(KafkaLog, "_abort", near=154)
async def _an_expired_id_is_tried_for_ever(self: Any, failure: Any) -> None:
    if not isinstance(failure, InvalidProducerIdMapping):
        await _abort(self, failure)


@instead_of(ThreadedProducer, "apart", near=18)
async def _transactions_are_in_the_loop_of_the_steps(self: Any, work: Any) -> Any:
    return await work(self.inside)
