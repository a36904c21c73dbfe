"""Faust's consumer thread, with an aiokafka consumer that is set up as the engine needs it."""

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

#: How long a fetch may wait for data, in milliseconds. aiokafka has one fetch in flight per broker:
#: a partition that is not part of it gets its data only after the fetch has returned.
FETCH_WAIT_MS = 20
#: What is fetched and waits for its task, of all partitions together, in bytes. aiokafka holds one
#: fetch of each partition, so each gets a part of it, but enough for a batch of small records.
FETCHED_BYTES = 32 * 1024 * 1024
LEAST_FETCH_BYTES, MOST_FETCH_BYTES = 64 * 1024, 1024 * 1024


class Subscription(SubscriptionState):
    """aiokafka's, which takes an assignment that was made for a process that read more.

    A static member that comes back is given what its predecessor had. aiokafka takes a topic that
    it does not read for an impossibility, and coordinates no more.
    """

    @hook
    def assign_from_subscribed(self, assignment: Iterable[TopicPartition]) -> None:
        """Take what is read of an assignment; `Assignor.lacks` asks for another one."""
        topics = self.topics
        super().assign_from_subscribed({tp for tp in assignment if tp.topic in topics})


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread with a consumer that reads what is committed."""

    app: Any
    consumer: Any
    #: The topics for which the group was joined once more.
    _renewed_for: frozenset[str] = frozenset()

    @hook
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        consumer._fetch_max_bytes = FETCHED_BYTES
        # Without tables Faust falls back to round robin, which takes a run's partitions apart.
        self._assignor = self.app.assignor
        consumer._partition_assignment_strategy = [self._assignor]
        consumer._subscription = Subscription(consumer._loop)  # type: ignore[no-untyped-call]
        return consumer

    def findings(self) -> Iterator[str]:
        """Yield what of the running consumer is not as it was set up."""
        yield from uncalled(self, ("_create_worker_consumer",))
        consumer: Any = self._ensure_consumer()
        yield from uncalled(consumer._subscription, ("assign_from_subscribed",))
        if consumer._fetcher._isolation_level != READ_COMMITTED:
            yield "the consumer reads what is not committed"
        if consumer._coordinator._assignors != [self.app.assignor]:
            yield "the group's partitions are assigned by somebody else"

    async def on_thread_stop(self) -> None:
        """Stop the consumer so that it ends; see `stopping`."""
        if self._consumer is not None:
            await end_fetching(self._consumer)
        await super().on_thread_stop()

    @hook
    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Before the group is joined again: make sure that nobody else has taken our place."""
        coordinator: Any = self._ensure_consumer()._coordinator
        # Before the first join there is no generation; later, a member without a name was put out.
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
        """Take what was assigned; ask for more where that was before we read some topic."""
        await super().on_partitions_assigned(assigned, generation_id)
        consumer: Any = self._ensure_consumer()
        consumer._fetcher._max_partition_fetch_bytes = _fetch_bytes(len(consumer.assignment()))
        topics = consumer.subscription()
        if self._renewed_for != topics and self._is_outdated(topics):
            # Once: a topic that is not there is in no assignment.
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
        """Return what the group's coordination has failed with since the last time.

        aiokafka stops coordinating until somebody asks, and Faust never does.
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
        """Return where *tp* is read next; None where it is not read."""
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
    """Return how much of a partition is fetched at once, where so many are assigned, in bytes.

    A larger batch is fetched as it is.
    """
    share = FETCHED_BYTES // max(1, partitions)
    return max(LEAST_FETCH_BYTES, min(MOST_FETCH_BYTES, share))
