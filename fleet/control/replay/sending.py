"""
Sends the records that a replay takes: a batch and the position behind it are one transaction.

So a replay sends every record once, even if it is killed and continues. If its position is lost, a
repeated start event is still one run, because the run's id comes from the record's place. A process
that continues a replay first ends the open transaction of the one before, and fences it.
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
#: How long a killed replay holds back readers of the topic, unless it continues before.
_TRANSACTION_MS = 10_000


class ReplayTaken(FleetError):
    """Raised when another process has continued the same replay.

    What to do: Wait for the other process. If there is none, run the command that the message
    shows.
    """

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, plan: Plan) -> None:
        super().__init__(
            f"another process has continued the replay {plan.id}, or the broker heard nothing of "
            f"this one for {_TRANSACTION_MS // 1000} s; if no other one runs: {resume(plan)}"
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
            f"the broker took no more ({str(reason) or type(reason).__name__}); the replay knows "
            f"what it has sent, and this sends the rest: {resume(plan)}"
        )


class ReplayForgotten(FleetError):
    """Raised when the broker has lost the position of a replay.

    What to do: Look at `fleet runs list` for the runs of this replay, and begin another one for the
    rest.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, plan: Plan, group: str) -> None:
        super().__init__(
            f"the position of the replay {plan.id} is lost: the offsets of {group} have expired on "
            "the broker (offsets.retention.minutes). `fleet runs list` shows the runs whose ids "
            f"begin with replay-{plan.id}; start another replay for the rest"
        )


@dataclass(slots=True)
class ReplayProgress:
    """How far a replay is; it calls *changed* at each change."""

    #: Records to send, as counted before.
    total: int
    #: How many records were sent, by partition, also by earlier processes.
    counts: Counter[int] = field(default_factory=Counter)
    #: How many this process has sent.
    sent_here: int = 0
    #: By partition: the offset below which every record is sent or left out.
    positions: dict[int, int] = field(default_factory=dict)
    interrupted: Interrupted | None = None
    changed: Callable[[], object] = lambda: None

    @property
    def sent(self) -> int:
        """How many records were sent."""
        return self.counts.total()

    @property
    def missing(self) -> int:
        """How many records were not sent."""
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
        """Commit the first positions."""
        starts = {number: start for number, (start, _) in self._plan.spans.items()}
        await self._commit([], starts)

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
        left = {number: (positions[number], end) for number, (_, end) in self._plan.spans.items()}
        return {number: span for number, span in left.items() if span[0] < span[1]}

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
        """Send records and commit positions, both or none; return when they are in the log."""
        counts = self._progress.counts + Counter(record.partition for record, _ in taken)
        # With the counts: deleted records cannot be counted again later.
        offsets = {
            TopicPartition(self._plan.topic, number): OffsetAndMetadata(offset, str(counts[number]))
            for number, offset in positions.items()
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
            headers=start_headers(self._plan.id, record, envelope, self._plan.context),
            partition=partition_of(new_id, self._partitions),
        )
        return sent

    async def _while_sending(self, work: Any) -> None:
        """Await a transaction; without the producer's sender it would never end."""
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
        """Take the replay over from an earlier process; raises errors that say how to continue."""
        # It stays: errors that no one awaited are reported at garbage collection, after this.
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
    """Return the id of the run that a replay makes of *record*: always the same."""
    event = record.topic.rpartition(".")[2]
    return f"replay-{replay_id}-{event}-{record.partition}-{record.offset}"


def start_headers(
    replay_id: str, record: Delivered, envelope: Envelope, context: Mapping[str, Any] | None = None
) -> Headers:
    """Return the headers of the event as the start of a new run.

    *context* has the first values of the run's context. The event is of no fan-out, and no step
    awaits the run: the new run has none of either.
    """
    new_id = run_id(replay_id, record)
    start = envelope._replace(
        run_id=new_id,
        event_id=envelopes.child_id(new_id, "replay", 0),
        epoch=0,
        parent_id="",
        replays=envelope.replays + 1,
        context=to_json(context).decode() if context else "",
        traceparent="",
        scope="",
        recoveries=(),
        order=0,
        batch="",
        caller="",
    )
    others = [header for header in record.headers if not header[0].startswith(_OWN_HEADERS)]
    return [*start.headers(), *others]


async def recall(settings: Settings, plan: Plan, progress: ReplayProgress) -> None:
    """Read the *progress* of a replay; raises ReplayForgotten and BrokerUnreachable.

    Call it after `connected` has ended the open transaction of an earlier process.
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
    tps = {number: TopicPartition(plan.topic, number) for number in plan.spans}
    if not found.offsets.keys() >= set(tps.values()):
        raise ReplayForgotten(plan, group)
    progress.positions = {number: found.offsets[tp] for number, tp in tps.items()}
    # Offsets without a count were set by other tools.
    progress.counts = Counter({number: int(found.notes[tp] or 0) for number, tp in tps.items()})


def resume(plan: Plan) -> str:
    """Return the command that continues a replay."""
    return f"fleet replay --resume {plan.id}"


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report an exception that no one awaited, but no refusal of the broker.

    The client leaves those in several futures of its own, and the first one says it all.
    """
    if not isinstance(context.get("exception"), KafkaError):
        loop.default_exception_handler(context)
