"""
The parts of the demo: a broker, a model, a worker. The demo finds or starts each, and stops what
it started.
"""

import os
import shutil
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fleet.cli.demos.folder import DemoFolder, Part
from fleet.config import settings as configuration
from fleet.config.settings import Settings
from fleet.control.interruption import Interrupted
from fleet.dev import kafka, llm, ports, processes
from fleet.dev.kafka import Progress
from fleet.records.errors import ExitCode, FleetError

#: The parts' names, for files and for people.
KAFKA = "Kafka"
MODEL = "scripted-llm"
WORKER = "worker"
APP = "fleet.joke"
#: A worker without work ends within a second or two.
_WORKER_STOP_SECONDS = 10.0
_MODEL_STOP_SECONDS = 5.0


class OtherDemo(FleetError):
    """Raised when a demo that is left running has a worker for another broker or model.

    What to do: End the other demo with `fleet demo --stop`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, has: str, wanted: str) -> None:
        super().__init__(
            f"a demo is left running, and its worker is for {has}; this demo would be for "
            f"{wanted}. Stop the other one first with `fleet demo --stop`"
        )


@dataclass(frozen=True, slots=True)
class Broker:
    """Where Kafka is."""

    address: str
    #: Where it comes from, in words.
    origin: str
    #: Whether its data goes when the demo does.
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """Where the worker finds its language model."""

    #: None if the environment names the model and we start none.
    base_url: str | None

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the worker finds it."""
        if self.base_url is None:
            return {}
        return {"OPENAI_BASE_URL": self.base_url, "OPENAI_API_KEY": "scripted"}


class Parts:
    """What one demo uses. `stop` ends what it started, in reverse order, and no more."""

    def __init__(self, folder: DemoFolder, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self._undo = ExitStack()
        #: What was started here, in order.
        self.started: list[str] = []

    def stop(self) -> None:
        """End what was started here, and remove its data."""
        self.started.clear()
        self._undo.close()

    def leave(self) -> None:
        """Let everything run on."""
        self.started.clear()
        self._undo.pop_all()

    def broker(self, *, keep: bool, progress: Progress) -> Broker:
        """Return the broker that is named, or one that runs, or a new one.

        Raises what `kafka.start` raises.
        """
        if "broker" in self._settings.model_fields_set:
            return Broker(self._settings.broker, "as FLEET_BROKER or --broker says")
        if (left := kafka.status(self._folder.kafka)) is not None:
            return Broker(left.address, "left running by an earlier demo", passing=True)
        if (own := kafka.status(self._settings.data_dir / "kafka")) is not None:
            return Broker(own.address, "started by `fleet dev up`")
        return self._start_broker(keep=keep, progress=progress)

    def model(self) -> Model:
        """Return the model that the environment names, or a scripted one.

        Raises ScriptedNotStarted.
        """
        if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
            return Model(None)
        part = self._folder.part(MODEL)
        return Model(part.url if part else self._start_model())

    def worker(self, broker: Broker, model: Model) -> Part:
        """Return the worker, which need not be ready yet. Raises OtherDemo."""
        calls = "the model at " + model.base_url if model.base_url else "the model you named"
        purpose = f"{broker.address}, prefix {self._settings.prefix} and {calls}"
        part = self._folder.part(WORKER)
        if part is None:
            return self._start_worker(broker, model, purpose)
        if part.purpose != purpose:
            raise OtherDemo(part.purpose, purpose)
        return part

    def _start_broker(self, *, keep: bool, progress: Progress) -> Broker:
        # At the usual port only if it stays: no other command should find a demo's broker.
        port = None if keep else ports.choose()
        try:
            started = kafka.start(self._folder.kafka, port=port, progress=progress)
        except Interrupted:
            kafka.stop(self._folder.kafka, purge=True)
            raise
        self.started.append(KAFKA)
        self._undo.callback(kafka.stop, self._folder.kafka, purge=True)
        return Broker(started.address, f"Apache Kafka {started.version}, embedded", passing=True)

    def _start_model(self) -> str:
        started = llm.start_process(log=self._folder.log(MODEL))
        self.started.append(MODEL)
        self._undo.callback(started.stop)
        self._undo.callback(self._folder.forget, MODEL)
        birth = processes.birth(started.pid)
        self._folder.remember(MODEL, Part(started.pid, birth, started.base_url))
        return started.base_url

    def _start_worker(self, broker: Broker, model: Model, purpose: str) -> Part:
        port = ports.choose()
        command = [sys.executable, "-m", "faust", "-A", APP, "worker", "-l", "info"]
        started = processes.spawn(
            [*command, "--web-port", str(port)],
            output=self._folder.log(WORKER),
            environment=self._environment(broker, model),
        )
        self.started.append(WORKER)
        self._undo.callback(shutil.rmtree, self._folder.worker_data, ignore_errors=True)
        self._undo.callback(self._folder.forget, WORKER)
        self._undo.callback(started.stop, _WORKER_STOP_SECONDS)
        url = f"http://{ports.HOST}:{port}/metrics"
        part = Part(started.pid, started.birth, url, purpose)
        self._folder.remember(WORKER, part)
        return part

    def _environment(self, broker: Broker, model: Model) -> dict[str, str]:
        own = {
            "FLEET_BROKER": broker.address,
            "FLEET_DATA_DIR": str(self._folder.worker_data.resolve()),
            "PYTHONUNBUFFERED": "1",
        }
        # You may read the log's last lines on the terminal.
        readable = {"FLEET_LOG_FORMAT": "console"}
        return readable | os.environ | _absolute_paths(self._settings) | own | model.environment


def stop_all(folder: DemoFolder) -> list[str]:
    """End every part that runs, of any demo; return what was ended, in words."""
    ended = []
    for name, seconds in ((WORKER, _WORKER_STOP_SECONDS), (MODEL, _MODEL_STOP_SECONDS)):
        if (part := folder.part(name)) is not None:
            part.process.stop(seconds)
            ended.append(f"{name} (process {part.pid})")
    if kafka.stop(folder.kafka, purge=True):
        ended.append(KAFKA)
    return ended


def is_idle(folder: DemoFolder) -> bool:
    """Tell whether no part of the demo runs."""
    running = (folder.part(WORKER), folder.part(MODEL), kafka.find(folder.kafka))
    return not any(running)


def _absolute_paths(settings: Settings) -> dict[str, str]:
    """Name files as they are found from here: the worker starts in another folder."""
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    return {
        configuration.variable(name): str(value.resolve())
        for name, value in given.items()
        if isinstance(value, Path)
    }
