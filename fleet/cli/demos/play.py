"""
The demo from its first process to its last: find or start the parts, make a run, undo it all.

Whatever ends the demo, it stops what it started; only `keep` leaves the parts running.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from fleet.cli.demos import parts
from fleet.cli.demos import run as demo_run
from fleet.cli.demos.folder import DemoFolder, Part
from fleet.cli.demos.parts import Broker, Model, Parts
from fleet.cli.demos.run import JokeRun
from fleet.cli.views.screen import Screen
from fleet.config.settings import Settings
from fleet.control.interruption import Interrupted, Interruption
from fleet.joke import JokeFlow
from fleet.kafka import provision
from fleet.records.errors import FleetError
from fleet.workflow import definition

T = TypeVar("T")

#: How much of the worker's log explains a failure.
_EVIDENCE_LINES = 15


class DemoFailed(FleetError):
    """Raised when the demo's run has no result.

    What to do: Read the worker's last lines below the message, and its log at the path that the
    message names.
    """

    def __init__(self, reason: FleetError, folder: DemoFolder) -> None:
        said = folder.last_words(parts.WORKER, _EVIDENCE_LINES)
        evidence = "".join(f"\n  {line}" for line in said) or " none"
        super().__init__(
            f"{reason}\nThe last lines of the worker's log (all of it is in "
            f"{folder.log(parts.WORKER)}):{evidence}"
        )


async def play(topic: str, *, keep: bool, settings: Settings, screen: Screen) -> None:
    """Show a run of the joke flow about *topic*; with *keep* leave running what it needed.

    Raises DemoFailed, Interrupted, DemoRunning, DemoFolderUnusable, OtherDemo, BrokerUnreachable,
    and the other errors of `provision` and `kafka.start`.
    """
    begun = time.monotonic()
    interruption = Interruption()
    folder = folder_of(settings)
    with folder.held():
        demo = _Demo(folder, settings, screen, interruption, keep=keep)
        try:
            await demo.perform(topic)
        except BaseException as failure:
            await demo.clear(with_logs=isinstance(failure, Interrupted))
            raise
        await demo.clear(with_logs=True)
    screen.line(f"It took {time.monotonic() - begun:.1f} s in all.")


async def stop(settings: Settings) -> list[str]:
    """Stop what a demo left running and remove its data; return what was stopped, in words.

    Raises DemoRunning, DemoFolderUnusable.
    """
    folder = folder_of(settings)
    with folder.held():
        ended = await asyncio.to_thread(parts.stop_all, folder)
        folder.remove()
    return ended


def folder_of(settings: Settings) -> DemoFolder:
    """Return where the demo keeps its files."""
    return DemoFolder(settings.data_dir.resolve() / "demo")


class _Demo:
    """One demo: its folder, its parts, its screen."""

    def __init__(
        self,
        folder: DemoFolder,
        settings: Settings,
        screen: Screen,
        interruption: Interruption,
        *,
        keep: bool,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._screen = screen
        self._interruption = interruption
        self._keep = keep
        self._parts = Parts(folder, settings)

    async def perform(self, topic: str) -> None:
        """Start what is missing, run the joke, show its result and what to do next."""
        broker = await self._broker()
        settings = self._settings.model_copy(update={"broker": broker.address})
        partitions = await provision.ensure(
            demo_run.topics(settings), definition.graph(JokeFlow), settings
        )
        worker = await self._worker(broker, await self._model())
        run = JokeRun(topic, settings, partitions, worker.process)
        try:
            begun = time.monotonic()
            critique = await run.critique(self._screen, self._interruption)
        except FleetError as failure:
            raise DemoFailed(failure, self._folder) from failure
        self._screen.result(critique)
        self._screen.line(f"\nThe run took {time.monotonic() - begun:.1f} s.")
        self._advise(broker, worker)

    async def clear(self, *, with_logs: bool) -> None:
        """Stop what was started and is not kept; without *with_logs* the logs stay to be read."""
        if self._parts.started:
            self._screen.stage(f"Stopping {', '.join(self._parts.started)}")
            await asyncio.to_thread(self._parts.stop)
        if parts.is_idle(self._folder) and (with_logs or not self._folder.has_logs()):
            self._folder.remove()

    async def _broker(self) -> Broker:
        progress = self._interruption.checked(self._screen.stage)
        broker = await self._blocking(
            lambda: self._parts.broker(keep=self._keep, progress=progress)
        )
        self._screen.line(f"Kafka    {broker.address} ({broker.origin})")
        return broker

    async def _model(self) -> Model:
        self._screen.moment("Starting the scripted LLM")
        model = await self._blocking(self._parts.model)
        self._screen.line(
            "LLM      the model that OPENAI_API_KEY or OPENAI_BASE_URL names"
            if model.base_url is None
            else "LLM      scripted: no model is called, the answers are canned; "
            "set OPENAI_API_KEY for a real one"
        )
        return model

    async def _worker(self, broker: Broker, model: Model) -> Part:
        self._screen.moment("Starting the worker")
        worker = await self._blocking(lambda: self._parts.worker(broker, model))
        started = parts.WORKER in self._parts.started
        origin = "started" if started else "left running by an earlier demo"
        self._screen.line(f"Worker   faust -A {parts.APP} worker ({origin})")
        return worker

    async def _blocking(self, work: Callable[[], T]) -> T:
        """Do *work* to its end in a thread, in which no signal breaks it."""
        self._interruption.check()
        done = await asyncio.to_thread(work)
        self._interruption.check()
        return done

    def _advise(self, broker: Broker, worker: Part) -> None:
        if self._keep:
            self._parts.leave()
        if parts.WORKER not in self._parts.started:
            self._screen.line(_what_next(broker, worker))
            return
        self._screen.line(
            f"The worker's metrics are at {worker.url} while it runs: "
            "`fleet demo --keep` leaves it running."
        )
        if not broker.passing:
            self._screen.line(f"Its records stay in the topics of {broker.address}.")


def _what_next(broker: Broker, worker: Part) -> str:
    return (
        "The demo is left running. Next:\n"
        f"  export FLEET_BROKER={broker.address}\n"
        "  fleet run joke topic=cats\n"
        f"  curl {worker.url}\n"
        "  fleet demo --stop          stops it and removes its data"
    )
