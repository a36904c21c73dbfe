"""
The runs that a caller waits for, from their start until their stream was read to its end.

A wait may end before its run does: the caller loses patience, or its log cannot be read.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from fleet.client.open_run import OpenRun
from fleet.client.patience import Patience
from fleet.client.transport import Transport
from fleet.client.worker_watch import WorkerWatch
from fleet.records.events import Event
from fleet.workflow.calling.results import Outcome


class Waits:
    """The open runs of one caller, by run id."""

    def __init__(self, transport: Transport, workers: WorkerWatch) -> None:
        self._transport = transport
        self._workers = workers
        self._open: dict[str, list[OpenRun]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self.patience = Patience(workers, lambda run, error: self.close(run, Outcome(error=error)))

    def add(self, run: OpenRun) -> None:
        """Wait for *run*."""
        self._open.setdefault(run.handler.run_id, []).append(run)
        self.patience.begin(run)

    def of(self, run_id: str) -> list[OpenRun]:
        """Return the waits for one run id."""
        return list(self._open.get(run_id, ()))

    def fail_all(self, error: BaseException) -> None:
        """End every wait with *error*."""
        for run in self._every():
            self.close(run, Outcome(error=error))

    def shut(self, error: BaseException) -> None:
        """End every wait with *error* and every stream with it, at once."""
        self.fail_all(error)
        for run in self._every():
            self._end_stream(run)
        for task in self._background:
            task.cancel()

    def close(self, run: OpenRun, outcome: Outcome) -> None:
        """End the wait for *run*; its stream ends when it was read up to here."""
        if run.handler.is_done():
            return
        self.patience.end(run)
        self._workers.dropped(run)
        if outcome.error is not None:
            run.handler.fail(outcome.error, outcome.event)
        else:
            run.handler.succeed(outcome.result, outcome.event)
        if run.work is not None and run.work is not asyncio.current_task():
            run.work.cancel()
        self._transport.when_stream_read(
            run.handler.run_id,
            partial(self._end_stream, run, outcome.event),
            soon=run.handler.stream.has_readers,
        )

    def work(self, run: OpenRun, work: Callable[[], Awaitable[object]]) -> None:
        """Do something for *run* in the background; if it fails, this wait is over."""

        async def guarded() -> None:
            try:
                await work()
            except Exception as failure:  # noqa: BLE001 - whatever it is, the caller must hear it
                self.close(run, Outcome(error=failure))

        run.work = task = asyncio.get_running_loop().create_task(guarded())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _every(self) -> list[OpenRun]:
        return [run for several in self._open.values() for run in several]

    def _end_stream(self, run: OpenRun, event: Event | None = None) -> None:
        run_id = run.handler.run_id
        several = self._open.get(run_id, [])
        if run not in several:
            # The connection was closed meanwhile.
            return
        run.handler.stream.end(event, run.end_epoch)
        several.remove(run)
        if not several:
            del self._open[run_id]
        if run.followed:
            self._transport.unfollow(run_id)
