"""Faust's consumer thread, with an aiokafka consumer set up as the engine needs it."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from fleet.host.assignor import Assignor
from fleet.host.hooks import hook, uncalled
from fleet.kafka import membership
from fleet.kafka.membership import InstanceTaken
from fleet.kafka.stopping import end_fetching

#: How long a fetch may wait for data, in milliseconds. aiokafka has one fetch in flight per broker,
#: and fetches for other partitions only after it has returned.
FETCH_WAIT_MS = 20
#: How much of all partitions together is fetched and waits for its task, in bytes. aiokafka holds
#: one fetch per partition, so a partition gets its share, and at least a batch of small records.
FETCHED_BYTES = 32 * 1024 * 1024
LEAST_FETCH_BYTES, MOST_FETCH_BYTES = 64 * 1024, 1024 * 1024
#: After how long without a fetch aiokafka leaves the group, in milliseconds: never. A worker
#: without partitions fetches nothing, and would not come back. `progress` finds consumers that
#: stand still.
POLL_INTERVAL_MS = 100 * 365 * 86_400_000


class Subscription(SubscriptionState):
    """aiokafka's subscription, which accepts an assignment made for a process that read more.

    A static member that returns gets its predecessor's assignment. If that has a topic that the
    member does not read, aiokafka fails and stops coordinating.
    """

    @hook
    def assign_from_subscribed(self, assignment: Iterable[TopicPartition]) -> None:
        """Take the topics that this member reads; `Assignor.lacks` asks for the rest."""
        topics = self.topics
        super().assign_from_subscribed({tp for tp in assignment if tp.topic in topics})


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, with a consumer that reads committed records only."""

    app: Any
    consumer: Any
    #: The topics for which this member has joined the group again.
    _renewed_for: frozenset[str] = frozenset()

    @hook
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        consumer._fetch_max_bytes = FETCHED_BYTES
        consumer._max_poll_interval_ms = POLL_INTERVAL_MS
        # Without tables Faust assigns round robin, which spreads a run's partitions over workers.
        self._assignor = self.app.assignor
        consumer._partition_assignment_strategy = [self._assignor]
        consumer._subscription = Subscription(consumer._loop)  # type: ignore[no-untyped-call]
        return consumer

    def findings(self) -> Iterator[str]:
        """Yield the settings of the running consumer that are not as they were made."""
        yield from uncalled(self, ("_create_worker_consumer",))
        consumer: Any = self._ensure_consumer()
        yield from uncalled(consumer._subscription, ("assign_from_subscribed",))
        if consumer._fetcher._isolation_level != READ_COMMITTED:
            yield "the consumer reads records that are not committed"
        if consumer._coordinator._max_poll_interval < POLL_INTERVAL_MS / 1000:
            yield "a worker without partitions leaves the group"
        if consumer._coordinator._assignors != [self.app.assignor]:
            yield "another assignor assigns the group's partitions"

    async def on_thread_stop(self) -> None:
        """Stop the consumer so that it ends; see `stopping`."""
        if self._consumer is not None:
            await end_fetching(self._consumer)
        await super().on_thread_stop()

    @hook
    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Before joining again, make sure that no other process has taken our place."""
        coordinator: Any = self._ensure_consumer()._coordinator
        # Before the first join there is no generation. Later, a member without an id was removed.
        if self.app.consumer_generation_id and not coordinator.member_id:
            taken = await self._taken()
            if taken is not None:
                asyncio.run_coroutine_threadsafe(
                    self.consumer.yield_partitions(taken), self.parent_loop
                )
                # This ends aiokafka's coordination: joining again would take the place back.
                raise asyncio.CancelledError
        await super().on_partitions_revoked(revoked)

    @hook
    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Take what was assigned; join again if it was assigned before we read some topic."""
        await super().on_partitions_assigned(assigned, generation_id)
        consumer: Any = self._ensure_consumer()
        consumer._fetcher._max_partition_fetch_bytes = _fetch_bytes(len(consumer.assignment()))
        topics = consumer.subscription()
        if self._renewed_for != topics and self._is_outdated(topics):
            # Once: a topic that does not exist is in no assignment.
            self._renewed_for = topics
            consumer._coordinator.request_rejoin()

    def _is_outdated(self, topics: frozenset[str]) -> bool:
        assignor = self.app.assignor
        return isinstance(assignor, Assignor) and assignor.lacks(topics)

    async def _taken(self) -> InstanceTaken | None:
        instance_id, group = self.app.conf.consumer_group_instance_id, self.app.conf.id
        if not instance_id:
            return None
        member = await membership.holder(self.consumer.host.engines.settings, group, instance_id)
        coordinator: Any = self._ensure_consumer()._coordinator
        if member is None or member.member_id == coordinator.member_id:
            return None
        return InstanceTaken(group, instance_id, member.host)

    async def group_failure(self) -> BaseException | None:
        """Return the error that the group's coordination has met since the last call.

        aiokafka stops coordinating until a client asks, and Faust never asks.
        """
        failure: BaseException | None = await self.call_thread(self._group_failure)
        return failure

    async def _group_failure(self) -> BaseException | None:
        coordinator: Any = self._ensure_consumer()._coordinator
        try:
            coordinator.check_errors()
        except KafkaError as failure:
            return await self._taken() or failure
        except asyncio.CancelledError:
            # We have ended it ourselves, to yield our partitions.
            return None
        return None

    def position_now(self, tp: TP) -> int | None:
        """Return the offset at which *tp* is read next; None if it is not read."""
        held = self._held(tp)
        return held.position if held is not None and held.has_valid_position else None

    async def stable_ends(self, tps: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """Return position and last stable offset of each partition, as last fetched."""
        return await self.call_thread(self._stable_ends, list(tps))  # type: ignore[no-any-return]

    async def _stable_ends(self, tps: list[TP]) -> dict[TP, tuple[int, int]]:
        found = {}
        for tp in tps:
            held = self._held(tp)
            if held is not None and held.has_valid_position and held.lso is not None:
                found[tp] = held.position, held.lso
        return found

    def _held(self, tp: TP) -> Any:
        subscription = self._ensure_consumer()._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        return assignment.state_value(TopicPartition(*tp)) if assignment is not None else None


def _fetch_bytes(partitions: int) -> int:
    """Return how much of a partition is fetched at once if *partitions* are assigned, in bytes.

    aiokafka fetches a larger batch whole.
    """
    share = FETCHED_BYTES // max(1, partitions)
    return max(LEAST_FETCH_BYTES, min(MOST_FETCH_BYTES, share))
