"""The demo's run: start it, show it step by step, wait for it beside a worker that may die."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fleet.cli.views.screen import Screen
from fleet.client.connection import connect
from fleet.config.settings import Settings
from fleet.control import calls
from fleet.control.interruption import Interruption
from fleet.control.step_records import Follower
from fleet.dev.processes import Process
from fleet.joke import JokeEvent, JokeFlow
from fleet.records.errors import FleetError
from fleet.records.events import decoded, type_name
from fleet.records.lifecycle import RETURNED, StepRecord
from fleet.records.log import Delivered
from fleet.records.topics import Topics

#: How long the run may take, in seconds: the first start of a worker on a slow machine, and two
#: calls of a slow model.
RUN_SECONDS = 120.0
#: How long to wait for the last step records after the result, in seconds.
_RECORDS_SECONDS = 5.0
#: How often to look whether the worker lives, in seconds.
_LOOK_SECONDS = 0.2


class WorkerDied(FleetError):
    """Raised when the worker ends before the run does.

    What to do: Read the worker's log, which `fleet demo` names.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(f"the worker (process {pid}) ended before the run did")


@dataclass(frozen=True)
class JokeRun:
    """A run of the joke flow on a worker of the demo."""

    topic: str
    settings: Settings
    #: Of the workflow's topics.
    partitions: int
    worker: Process

    @property
    def topics(self) -> Topics:
        """The workflow's topics."""
        return topics(self.settings)

    async def critique(self, screen: Screen, interruption: Interruption) -> str:
        """Start the run, show its steps and its joke, and return its result.

        Raises WorkerDied, Interrupted, and what `calls.outcome` and `connect` raise.
        """
        run_id = uuid.uuid4().hex
        screen.line(f"Run      a joke about {self.topic}, {run_id}")
        screen.stage("Waiting for the worker to join and take up the run")
        async with (
            self._shown(run_id, screen),
            connect(JokeFlow, settings=self.settings, timeout=RUN_SECONDS) as flow,
        ):
            handler = flow.run(topic=self.topic, run_id=run_id)
            return str(await self._first(calls.outcome(handler), interruption))

    @asynccontextmanager
    async def _shown(self, run_id: str, screen: Screen) -> AsyncIterator[None]:
        """Show what the steps do during the block, and at its end all that they did."""
        show = _Show(self.topics, screen)
        over = asyncio.Event()
        async with Follower(self.settings, show.reads, run_id, self.partitions) as follower:
            showing = asyncio.create_task(follower.follow(show.take, over))
            try:
                yield
                over.set()
                await asyncio.wait([showing], timeout=_RECORDS_SECONDS)
            finally:
                showing.cancel()
                await asyncio.gather(showing, return_exceptions=True)

    async def _first(self, ending: Coroutine[Any, Any, Any], interruption: Interruption) -> Any:
        """Return the result of *ending*, unless the worker dies or Ctrl-C comes first."""
        ended = asyncio.create_task(ending)
        others = [asyncio.create_task(self._death()), asyncio.create_task(interruption.wait())]
        try:
            await asyncio.wait([ended, *others], return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return ended.result()
            interruption.check()
            raise WorkerDied(self.worker.pid)
        finally:
            for task in (ended, *others):
                task.cancel()

    async def _death(self) -> None:
        # A process that is not our child does not signal its end.
        while self.worker.is_alive():  # noqa: ASYNC110 - see above
            await asyncio.sleep(_LOOK_SECONDS)


class _Show:
    """Shows what the steps did, and the joke after the step that wrote it."""

    def __init__(self, topics: Topics, screen: Screen) -> None:
        self._history = topics.history
        self._screen = screen
        self._joke = ""
        self._is_written = False
        #: Names of the topics that `take` knows.
        self.reads = (topics.history, topics.event(type_name(JokeEvent)))

    def take(self, record: Delivered) -> None:
        """Take a record of one of these topics; between topics there is no order."""
        value = record.value or b""
        if record.topic == self._history:
            step = StepRecord.decode(value)
            self._screen.line(_line(step))
            self._screen.moment("The worker runs the next step")
            self._is_written |= type_name(JokeEvent) in step.sent
        else:
            self._joke = decoded(JokeEvent, value).joke
        if self._joke and self._is_written:
            self._screen.line(f"\n{self._joke}\n")
            self._joke = ""


def topics(settings: Settings) -> Topics:
    """Return the topics of the joke flow."""
    return Topics(settings.prefix, JokeFlow.workflow_name, JokeFlow.group_name)


def _line(record: StepRecord) -> str:
    failed = "" if record.outcome == RETURNED else " and failed"
    return f"  {record.step:<16} {record.finished - record.started:.2f} s{failed}"
