"""
Cancels runs: writes one `cancelled` per run, in the run's epoch, and reads which of them count.

A run is cancelled if our record is its effective end. `runs` alone says so, without a worker.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka.errors import KafkaError

from fleet.control.interruption import Interrupted, Interruption
from fleet.control.runs.log import RUNNING, Run, RunLog
from fleet.control.source import Source
from fleet.kafka import topic_reader
from fleet.kafka.clients import BrokerUnreachable, Clients
from fleet.kafka.topic_reader import Positions, TopicReader
from fleet.records.envelope import Envelope
from fleet.records.errors import ExitCode, FleetError
from fleet.records.lifecycle import Cancelled

_BATCH = 100
_LOOK_SECONDS = 0.1
#: How long to wait for our own records, in seconds. A hung transaction holds readers back until the
#: broker ends it.
_PATIENCE_SECONDS = 30.0


class NotSeen(FleetError):
    """Raised when an open transaction holds back the records that the command wrote.

    What to do: Look at `fleet runs list` a little later.
    """

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, count: int) -> None:
        super().__init__(
            f"{count} cancel records are written, and an open transaction still hides them; "
            "`fleet runs list` shows the outcome soon"
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """The runs that a command takes, by what it can do about them."""

    open: list[Run]
    #: They have ended already.
    ended: list[Run]
    unknown: list[str]
    #: How many open runs the limit leaves out.
    left: int = 0

    @property
    def overtaken(self) -> list[Run]:
        """The ended runs that were not cancelled."""
        return [run for run in self.ended if run.outcome != Cancelled.kind]


@dataclass(slots=True)
class CancelProgress:
    """How far a cancel is; it calls *changed* at each change."""

    total: int = 0
    #: Ids of the runs that our records ended.
    cancelled: list[str] = field(default_factory=list)
    #: Ids of the runs that ended, or were resumed, before our record; with their outcomes.
    overtaken: dict[str, str] = field(default_factory=dict)
    interrupted: Interrupted | None = None
    changed: Callable[[], object] = lambda: None

    @property
    def known(self) -> int:
        """Runs whose outcome is known."""
        return len(self.cancelled) + len(self.overtaken)


def select(log: RunLog, run_ids: Iterable[str]) -> Selection:
    """Sort named runs by what the command can do about them."""
    named = list(dict.fromkeys(run_ids))
    known = [run for run_id in named if (run := log.get(run_id))]
    return Selection(
        open=[run for run in known if run.outcome == RUNNING],
        ended=[run for run in known if run.outcome != RUNNING],
        unknown=[run_id for run_id in named if log.get(run_id) is None],
    )


def select_open(log: RunLog, limit: int, started_before: float | None = None) -> Selection:
    """Take open runs, the oldest first, at most *limit* of them."""
    found = [
        run
        for run in log
        if run.outcome == RUNNING
        and run.started_at is not None
        and (started_before is None or run.started_at < started_before)
    ]
    found.sort(key=lambda run: run.started_at or 0.0)
    return Selection(found[:limit], [], [], left=max(0, len(found) - limit))


class Cancelling:
    """One cancel under way."""

    def __init__(
        self, source: Source, log: RunLog, read_to: Positions, progress: CancelProgress
    ) -> None:
        self._source = source
        self._log = log
        self._read_to = read_to
        self._progress = progress
        #: Offset of our record, by run.
        self._offsets: dict[str, int] = {}

    async def run(self, producer: Any, chosen: Sequence[Run], reason: str) -> None:
        """Cancel *chosen* in batches; Ctrl-C ends it after the batch under way."""
        self._progress.total = len(chosen)
        interruption = Interruption()
        async with topic_reader.connected(self._source.settings) as reader:
            for first in range(0, len(chosen), _BATCH):
                batch = {run: run.epoch for run in chosen[first : first + _BATCH]}
                await self._send(producer, batch, Cancelled(reason=reason))
                await self._watch(reader, batch)
                if len(self._offsets) < len(chosen):
                    interruption.check()

    async def _send(self, producer: Any, batch: Mapping[Run, int], cancelled: Cancelled) -> None:
        sent = [await self._append(producer, run, batch[run], cancelled) for run in batch]
        acknowledged = await asyncio.gather(*sent)
        for run, place in zip(batch, acknowledged, strict=True):
            self._offsets[run.id] = place.offset

    async def _append(
        self, producer: Any, run: Run, epoch: int, cancelled: Cancelled
    ) -> "asyncio.Future[Any]":
        envelope = Envelope(
            run_id=run.id, event_id=uuid.uuid4().hex, type=cancelled.kind, epoch=epoch
        )
        sent: asyncio.Future[Any] = await producer.send(
            self._source.topics.runs,
            key=run.id.encode(),
            value=cancelled.encode(),
            headers=envelope.headers(),
            partition=run.partition,
        )
        return sent

    async def _watch(self, reader: TopicReader, batch: Mapping[Run, int]) -> None:
        """Read until our records come: then we know which of them count."""
        until = time.monotonic() + _PATIENCE_SECONDS
        left = set(batch)
        while left:
            self._read_to = await reader.take_new(self._read_to, self._log.take)
            for run in [one for one in left if self._is_read(one)]:
                left.remove(run)
                self._note(run, batch[run])
            self._progress.changed()
            if left and time.monotonic() > until:
                raise NotSeen(len(left))
            if left:
                await asyncio.sleep(_LOOK_SECONDS)

    def _is_read(self, run: Run) -> bool:
        return any(
            tp.partition == run.partition and end > self._offsets[run.id]
            for tp, end in self._read_to.items()
        )

    def _note(self, run: Run, epoch: int) -> None:
        ours = self._offsets[run.id]
        if any(end.offset == ours for end in run.ends):
            self._progress.cancelled.append(run.id)
        else:
            resumed = run.epoch > epoch and run.outcome == RUNNING
            self._progress.overtaken[run.id] = "resumed" if resumed else run.outcome


async def cancel(
    source: Source,
    chosen: Sequence[Run],
    reason: str,
    *,
    known: tuple[RunLog, Positions],
    progress: CancelProgress,
) -> None:
    """Cancel runs; return when the log says which of them it ended.

    *known*: the log that they were chosen from, and how far it was read. Raises BrokerUnreachable
    and NotSeen.
    """
    producer = Clients(source.settings).producer(enable_idempotence=True)
    try:
        await producer.start()
        await Cancelling(source, *known, progress).run(producer, chosen, reason)
    except Interrupted as interrupted:
        progress.interrupted = interrupted
    except (KafkaError, OSError) as failure:
        raise BrokerUnreachable(source.settings, failure) from None
    finally:
        await producer.stop()
