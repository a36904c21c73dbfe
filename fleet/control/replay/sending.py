"""
Sending what a replay takes: the records of a batch and the position behind it are one transaction.

So however often it is killed and goes on, each record is sent once. Should the position be lost
after all, a start event that comes twice is still one run, because its id is derived. Whoever goes
on first ends the transaction of a process that was killed, and stops one that was not.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import OffsetAndMetadata, TopicPartition
from aiokafka.errors import IllegalOperation, KafkaError, ProducerFenced
from pydantic_core import to_json

from fleet.config.settings import Settings
from fleet.control.interruption import Interrupted, Interruption
from fleet.control.pace import Pace
from fleet.control.replay import selection
from fleet.control.replay.plan import Plan
from fleet.control.replay.selection import Refused, Selector
from fleet.control.step_groups import Groups
from fleet.kafka.clients import BrokerUnreachable, Clients, client_arguments
from fleet.kafka.topic_reader import Batch, TopicReader
from fleet.records import envelope as envelopes
from fleet.records.envelope import Envelope, Headers
from fleet.records.errors import ExitCode, FleetError
from fleet.records.log import Delivered
from fleet.records.partitions import partition_of

_BATCH = 500
_OWN_HEADERS = ("fleet-", "traceparent", "tracestate")
_CLOSE_SECONDS = 5.0
#: For how long the broker may take over a batch before the replay stops.
_PATIENCE_SECONDS = 30.0
#: For how long a replay that was killed holds back readers of the topic, unless it goes on before.
_TRANSACTION_MS = 10_000


class ReplayTaken(FleetError):
    """Raised when another process has continued the same replay.

    What to do: Wait for the other process. If there is none, run the command that the message
    shows.
    """

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, plan: Plan) -> None:
        super().__init__(
            f"another process has gone on with the replay {plan.id}, or the broker heard nothing "
            f"of this one for {_TRANSACTION_MS // 1000} s; if none is there: {resume(plan)}"
        )


class ReplayStopped(FleetError):
    """Raised when the broker takes no more records of a replay.

    What to do: Repair the broker or the permissions that the message names, then run the command
    that it shows.
    """

    exit_code = ExitCode.UNREACHABLE
    permanent = False

    def __init__(self, plan: Plan, reason: BaseException) -> None:
        super().__init__(
            f"the broker took no more ({str(reason) or type(reason).__name__}); what was sent is "
            f"noted, and this goes on with the rest: {resume(plan)}"
        )


class ReplayForgotten(FleetError):
    """Raised when the broker does not know any more how far a replay was."""

    exit_code = ExitCode.REFUSED

    def __init__(self, plan: Plan, group: str) -> None:
        super().__init__(
            f"how far the replay {plan.id} was is not known any more: the offsets of {group} have "
            "expired on the broker (offsets.retention.minutes). `fleet runs list` shows the runs "
            f"whose ids begin with replay-{plan.id}; begin another replay for the rest"
        )


@dataclass(slots=True)
class ReplayProgress:
    """How far it is; *changed* is called at each change."""

    #: Records that were to be sent, as counted before.
    total: int
    #: By partition: how many of its records were sent, by this process and those before.
    counts: Counter[int] = field(default_factory=Counter)
    #: Of them, by this process.
    sent_here: int = 0
    #: Offset by partition up to which everything is dealt with.
    positions: dict[int, int] = field(default_factory=dict)
    interrupted: Interrupted | None = None
    changed: Callable[[], object] = lambda: None

    @property
    def sent(self) -> int:
        """How many records were sent."""
        return self.counts.total()

    @property
    def missing(self) -> int:
        """How many were not sent."""
        return max(0, self.total - self.sent)


class Sending:
    """One replay under way."""

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        selector: Selector,
        progress: ReplayProgress,
        partitions: int,
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._selector = selector
        self._progress = progress
        self._partitions = partitions
        self._group = plan.group(settings)
        self._producer = Clients(settings).producer(
            transactional_id=self._group,
            transaction_timeout_ms=_TRANSACTION_MS,
            linger_ms=5,
        )

    async def begin(self) -> None:
        """Note that nothing was sent yet."""
        await self._commit([], {each: start for each, (start, _) in self._plan.spans.items()})

    async def run(self) -> None:
        """Send the rest; Ctrl-C ends it after the batch under way."""
        interruption = Interruption()
        pace = Pace(self._plan.rate, _BATCH)
        async with TopicReader(Clients(self._settings)) as reader:
            left = selection.of(self._plan.topic, self._left())
            async for batch in reader.read(left, max_records=pace.batch):
                try:
                    interruption.check()
                    await self._send(batch)
                    await pace.wait(self._progress.sent_here, interruption)
                    if self._left():
                        interruption.check()
                except Interrupted as interrupted:
                    self._progress.interrupted = interrupted
                    return

    def _left(self) -> dict[int, tuple[int, int]]:
        positions = self._progress.positions
        left = {each: (positions[each], end) for each, (_, end) in self._plan.spans.items()}
        return {each: span for each, span in left.items() if span[0] < span[1]}

    async def _send(self, batch: Batch) -> None:
        if not batch.positions:
            return
        verdicts = [(record, self._selector.decide(record)) for record in batch.delivered()]
        taken = [
            (record, verdict)
            for record, verdict in verdicts
            if verdict is not None and not isinstance(verdict, Refused)
        ]
        positions = {tp.partition: position for tp, position in batch.positions.items()}
        await self._commit(taken, positions)
        self._progress.sent_here += len(taken)
        self._progress.changed()

    async def _commit(
        self, taken: list[tuple[Delivered, Envelope]], positions: Mapping[int, int]
    ) -> None:
        """Send records and note how far it is, both or none; return when they are in the log."""
        counts = self._progress.counts + Counter(record.partition for record, _ in taken)
        # The counts are noted, too: what is deleted from the topic cannot be counted again later.
        offsets = {
            TopicPartition(self._plan.topic, each): OffsetAndMetadata(offset, str(counts[each]))
            for each, offset in positions.items()
        }
        await self._while_sending(self._transaction(taken, offsets))
        self._progress.counts = counts
        self._progress.positions.update(positions)

    async def _transaction(
        self,
        taken: list[tuple[Delivered, Envelope]],
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
    ) -> None:
        async with self._producer.transaction():
            sent = [await self._append(record, envelope) for record, envelope in taken]
            await self._producer.send_offsets_to_transaction(offsets, self._group)
            await asyncio.gather(*sent)

    async def _append(self, record: Delivered, envelope: Envelope) -> "asyncio.Future[Any]":
        if self._plan.to_topic:
            copied: asyncio.Future[Any] = await self._producer.send(
                self._plan.to_topic, key=record.key, value=record.value, headers=record.headers
            )
            return copied
        new_id = run_id(self._plan.id, record)
        sent: asyncio.Future[Any] = await self._producer.send(
            self._plan.topic,
            key=new_id.encode(),
            value=record.value,
            headers=started_anew(self._plan.id, record, envelope, self._plan.context),
            partition=partition_of(new_id, self._partitions),
        )
        return sent

    async def _while_sending(self, work: Any) -> None:
        """Await a transaction, whose end never comes once the producer's sender is gone."""
        sender = self._producer._sender.sender_task  # noqa: SLF001 - there is no public way
        done = asyncio.ensure_future(work)
        try:
            await asyncio.wait(
                {done, sender}, timeout=_PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if not (done.done() or sender.done()):
                raise TimeoutError(f"no answer for {_PATIENCE_SECONDS:g} s")
            if not done.done():
                raise ProducerFenced
            done.result()
        finally:
            done.cancel()

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Take the replay over from whoever had it; raises what tells how to go on."""
        # For good: what nobody has heard of is told when it is collected, after the end of this.
        asyncio.get_running_loop().set_exception_handler(_tell)
        try:
            await self._producer.start()
        except (KafkaError, OSError) as failure:
            await self._close()
            raise BrokerUnreachable(self._settings, failure) from None
        try:
            yield
        except (ProducerFenced, IllegalOperation):
            raise ReplayTaken(self._plan) from None
        except (KafkaError, OSError) as failure:
            raise ReplayStopped(self._plan, failure) from None
        finally:
            await self._close()

    async def _close(self) -> None:
        with contextlib.suppress(TimeoutError, KafkaError, OSError):
            await asyncio.wait_for(self._producer.stop(), _CLOSE_SECONDS)


def run_id(replay_id: str, record: Delivered) -> str:
    """Return the id of the run that a replay makes of *record*: the same however often it does."""
    event = record.topic.rpartition(".")[2]
    return f"replay-{replay_id}-{event}-{record.partition}-{record.offset}"


def started_anew(
    replay_id: str, record: Delivered, envelope: Envelope, context: Mapping[str, Any] | None = None
) -> Headers:
    """Return the headers of the event as the first one of a run of its own.

    *context* is what the run's context begins with.
    """
    new_id = run_id(replay_id, record)
    anew = envelope._replace(
        run_id=new_id,
        event_id=envelopes.child_id(new_id, "replay", 0),
        epoch=0,
        parent_id="",
        replays=envelope.replays + 1,
        context=to_json(context).decode() if context else "",
        traceparent="",
    )
    others = [each for each in record.headers if not each[0].startswith(_OWN_HEADERS)]
    return [*anew.headers(), *others]


async def recall(settings: Settings, plan: Plan, progress: ReplayProgress) -> None:
    """Set *progress* to how far a replay is; raises ReplayForgotten and BrokerUnreachable.

    What a process that was killed had not finished counts only once somebody went on.
    """
    group = plan.group(settings)
    groups = Groups(client_arguments(settings))
    try:
        await groups.start()
        found = await groups.membership(group)
    except (KafkaError, OSError) as failure:
        raise BrokerUnreachable(settings, failure) from None
    finally:
        await groups.close()
    tps = {each: TopicPartition(plan.topic, each) for each in plan.spans}
    if not found.offsets.keys() >= set(tps.values()):
        raise ReplayForgotten(plan, group)
    progress.positions = {each: found.offsets[tp] for each, tp in tps.items()}
    # Without a note somebody has set the offsets by other means.
    progress.counts = Counter({each: int(found.notes[tp] or 0) for each, tp in tps.items()})


def resume(plan: Plan) -> str:
    """Return the command that goes on with a replay."""
    return f"fleet replay --resume {plan.id}"


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tell of an exception that nobody took, but not of the broker's refusals.

    The client leaves those in several futures of its own, and the first that was heard tells all.
    """
    if not isinstance(context.get("exception"), KafkaError):
        loop.default_exception_handler(context)
