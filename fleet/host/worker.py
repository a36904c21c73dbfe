"""
The worker process: `faust -A module worker` starts it for an app of ours.

A worker that cannot work says so in one sentence before Faust starts its services, and its exit
code is not zero.
"""

import asyncio
import gc
import resource
import sys
from typing import Any, NoReturn

import faust

from fleet.host import web_port
from fleet.host.exit import STOP_SECONDS, exit_if_stuck, exit_within
from fleet.host.transport import check_transport
from fleet.kafka import provision
from fleet.llm import LLM, connections
from fleet.records.errors import FleetError

#: Open files that a worker asks for, if the system allows it.
_OPEN_FILES = 65_536
#: The collector looks for cycles after this number of new objects. Each event makes about a
#: hundred, nearly all without cycles; with Python's own 700 the collector was 15 % of the work.
_GC_THRESHOLD = 20_000
#: How long a stopping worker waits for a rebalance that is under way, in seconds.
_REBALANCE_SECONDS = 10.0


class Worker(faust.Worker):
    """Faust's worker with a check before it starts."""

    #: A `FleetApp`, which has a host.
    app: Any
    _is_exiting = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Faust's command always asks for it, whatever the setting says.
        self.redirect_stdouts = self.app.conf.worker_redirect_stdouts
        # Before Faust's banner, which shows the port.
        web_port.choose_port(self.app)
        _raise_open_files()

    def execute_from_commandline(self) -> NoReturn:
        """Check the broker and its topics, then run until stopped."""
        try:
            self.loop.run_until_complete(self._check())
        except FleetError as failure:
            _print(failure)
            raise SystemExit(failure.exit_code) from None
        _ease_garbage_collection()
        try:
            super().execute_from_commandline()
        except SystemExit as end:
            code = self._explained() or end.code
            exit_if_stuck(code)
            raise SystemExit(code) from None

    def _explained(self) -> int:
        """Print the reason of a crash after all of Faust's lines; return its exit code."""
        if not isinstance(self.crash_reason, FleetError):
            return 0
        _print(self.crash_reason)
        return self.crash_reason.exit_code

    def on_worker_shutdown(self) -> None:
        """End in time, for any reason; Faust calls this before it stops anything."""
        self._exit_in_time()
        super().on_worker_shutdown()

    def _exit_in_time(self) -> None:
        if not self._is_exiting:
            self._is_exiting = True
            exit_within(self.app.host.engines.settings.drain_seconds + STOP_SECONDS)

    async def _stop_on_signal(self, signal: Any) -> None:
        self._exit_in_time()
        # Before Faust stops anything: from then on Faust closes the consumer at a rebalance. That
        # leaves the group without a word, and the others wait for the session timeout.
        await self.app.host.drain()
        await self._rebalance_over()
        await super()._stop_on_signal(signal)

    async def _rebalance_over(self) -> None:
        deadline = self.loop.time() + _REBALANCE_SECONDS
        # Faust has a flag for it, and no event to wait for.
        while self.app.rebalancing and self.loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def _check(self) -> None:
        check_transport(self.app)
        for engine in self.app.host.engines:
            await provision.ensure(engine.topics, engine.step_group.graph, engine.settings)
            _preload(engine.step_group.workflow())


def _print(error: FleetError) -> None:
    """Print an error as commands do: its text, and where the reference describes it."""
    sys.stderr.write(f"Error: {error}\nSee {error.address}\n")


def _preload(workflow: object) -> None:
    if any(isinstance(member, LLM) for member in vars(type(workflow)).values()):
        connections.preload()


def _ease_garbage_collection() -> None:
    """Let the collector look less often, at the objects of runs and not at the modules."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


def _raise_open_files() -> None:
    """Allow as many open files as the system permits: each LLM call in flight is a socket."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
