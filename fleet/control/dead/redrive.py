"""
Resumes runs: sends one request per run, and reads the answers of the workers.

A repeated request is harmless: of several requests for one epoch a worker takes the first. So if
the command stops, you repeat it. It counts a run that was resumed already as done.
"""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka.errors import KafkaError

from fleet.control.dead.letters import ResumeRequest
from fleet.control.dead.topic import Found
from fleet.control.interruption import Interrupted, Interruption
from fleet.control.pace import Pace
from fleet.control.runs.log import RUNNING, Run, RunLog
from fleet.control.source import Source
from fleet.kafka import topic_reader
from fleet.kafka.clients import BrokerUnreachable, Clients
from fleet.kafka.topic_reader import TopicReader
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import Completed, Resumed

#: How many requests to send before a check whether the command is to end.
_BATCH = 100
#: How often to look for answers, in seconds.
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class RedriveOptions:
    """Which runs to resume, and how."""

    requests: Sequence[ResumeRequest]
    reason: str
    #: With `wait`: runs that were resumed before, in their present epochs, to follow as well.
    following: Sequence[ResumeRequest] = ()
    #: Requests per second; None sets no limit.
    rate: float | None = None
    #: How long to wait without an answer, in seconds.
    patience_seconds: float = 60.0
    #: Follow the runs to their new ends.
    wait: bool = False
    #: Let the steps of the letters make their recorded calls again.
    fresh: bool = False


@dataclass(slots=True)
class RedriveProgress:
    """How far a redrive is; it calls *changed* at each change."""

    total: int = 0
    #: Requests in the log.
    sent: int = 0
    #: Runs that were resumed, by this command or another.
    resumed: int = 0
    #: Run ids, with the reason why a worker refused.
    refused: dict[str, str] = field(default_factory=dict)
    #: With `wait`: the outcomes of the resumed runs.
    outcomes: Counter[str] = field(default_factory=Counter)
    interrupted: Interrupted | None = None
    changed: Callable[[], object] = lambda: None

    @property
    def answered(self) -> int:
        """Runs with an answer."""
        return self.resumed + len(self.refused)

    @property
    def ended(self) -> int:
        """Resumed runs that have ended."""
        return self.outcomes.total()

    @property
    def is_complete(self) -> bool:
        """Whether every run was resumed, and no followed run ended without a result."""
        bad = self.ended - self.outcomes[Completed.kind]
        return self.resumed == self.total and not bad


class Redrive:
    """One redrive under way."""

    def __init__(
        self, source: Source, found: Found, options: RedriveOptions, progress: RedriveProgress
    ) -> None:
        self._source = source
        self._options = options
        self._progress = progress
        self._log: RunLog = found.log
        self._read_to = found.read_to
        #: Event id of the request of each run.
        self._request_ids: dict[str, str] = {}
        progress.total = len(options.requests) + len(options.following)

    async def run(self, producer: Any) -> None:
        """Send the requests, then read until all is known, no answer comes, or you press Ctrl-C.

        *producer* is started. Raises BrokerUnreachable.
        """
        interruption = Interruption()
        async with topic_reader.connected(self._source.settings) as reader:
            try:
                await self._send_all(producer, reader, interruption)
                await self._listen(reader, interruption)
            except Interrupted as interrupted:
                self._progress.interrupted = interrupted

    async def _send_all(
        self, producer: Any, reader: TopicReader, interruption: Interruption
    ) -> None:
        pace = Pace(self._options.rate, _BATCH)
        for first in range(0, len(self._options.requests), pace.batch):
            interruption.check()
            await self._send_batch(producer, self._options.requests[first : first + pace.batch])
            await self._look(reader)
            await pace.wait(self._progress.sent, interruption)

    async def _send_batch(self, producer: Any, requests: Sequence[ResumeRequest]) -> None:
        """Send a whole batch; return when the brokers have it."""
        acknowledged = [await self._send(producer, request) for request in requests]
        try:
            await asyncio.gather(*acknowledged)
        except KafkaError as failure:
            raise BrokerUnreachable(self._source.settings, failure) from None
        self._progress.sent += len(requests)
        self._progress.changed()

    async def _send(self, producer: Any, request: ResumeRequest) -> "asyncio.Future[Any]":
        request_id = uuid.uuid4().hex
        self._request_ids[request.run_id] = request_id
        envelope = Envelope(
            run_id=request.run_id, event_id=request_id, type=Resumed.kind, epoch=request.epoch
        )
        sent: asyncio.Future[Any] = await producer.send(
            self._source.topics.runs,
            key=request.run_id.encode(),
            value=self._resumed(request).encode(),
            headers=envelope.headers(),
            partition=request.partition,
        )
        return sent

    def _resumed(self, request: ResumeRequest) -> Resumed:
        letters = request.letters if self._options.fresh else ()
        fresh = tuple((letter.event_id, letter.note.step) for letter in letters)
        return Resumed(reason=self._options.reason, fresh=fresh)

    async def _listen(self, reader: TopicReader, interruption: Interruption) -> None:
        heard = time.monotonic()
        while not self._is_over():
            interruption.check()
            before = self._progress.answered, self._progress.ended
            await self._look(reader)
            if before != (self._progress.answered, self._progress.ended):
                heard = time.monotonic()
            elif self._gives_up(time.monotonic() - heard):
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def _is_over(self) -> bool:
        progress = self._progress
        if progress.answered < progress.total:
            return False
        return not self._options.wait or progress.ended == progress.resumed

    def _gives_up(self, silent_seconds: float) -> bool:
        # Resumed runs may take as long as they want.
        answered = self._progress.answered == self._progress.total
        return not answered and silent_seconds > self._options.patience_seconds

    async def _look(self, reader: TopicReader) -> None:
        """Read what is new, and count again."""
        self._read_to = await reader.take_new(self._read_to, self._log.take)
        self._count()
        self._progress.changed()

    def _count(self) -> None:
        progress = self._progress
        progress.resumed, progress.outcomes = 0, Counter()
        progress.refused.clear()
        for request in (*self._options.requests, *self._options.following):
            if run := self._log.get(request.run_id):
                self._count_run(run, request)

    def _count_run(self, run: Run, request: ResumeRequest) -> None:
        progress = self._progress
        ours = run.requests.get(self._request_ids.get(run.id, ""))
        # By any request: a worker refuses the second one, and its run was resumed all the same.
        if run.has_reached(request.epoch):
            progress.resumed += 1
            if self._options.wait and run.outcome != RUNNING:
                progress.outcomes[run.outcome] += 1
        elif ours is not None and ours.refused:
            progress.refused[run.id] = ours.refused


async def run(
    source: Source, found: Found, options: RedriveOptions, progress: RedriveProgress
) -> None:
    """Resume the runs of *options*, reading on from *found*; the result is in *progress*.

    Raises BrokerUnreachable.
    """
    producer = Clients(source.settings).producer(enable_idempotence=True)
    try:
        await producer.start()
        await Redrive(source, found, options, progress).run(producer)
    except (KafkaError, OSError) as failure:
        raise BrokerUnreachable(source.settings, failure) from None
    finally:
        await producer.stop()
