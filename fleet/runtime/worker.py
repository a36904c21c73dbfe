"""
The worker process: what `faust -A module worker` starts for an app of ours.

What cannot work is said in one sentence before Faust starts its services, and the exit code is not
zero.
"""

import asyncio
import os
import resource
import sys
import threading
from typing import Any, NoReturn

import faust
from mode.threads import WorkerThread

from fleet.llm import LLM, connections
from fleet.records.errors import FleetError
from fleet.runtime import provision, web

#: Open files that a worker asks for, where the system allows it.
_OPEN_FILES = 65_536
#: How long a thread may take to end after everything was stopped, in seconds.
_THREAD_SECONDS = 2.0
#: How long a stopping worker waits for a rebalance that is under way, in seconds.
_REBALANCE_SECONDS = 10.0


class Worker(faust.Worker):
    """Faust's worker with a check before it starts."""

    #: A `FleetApp`, which knows its host.
    app: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Here and not later: Faust's banner shows the port.
        web.choose_port(self.app)
        _raise_open_files()

    def execute_from_commandline(self) -> NoReturn:
        """Check the broker and its topics, then run until stopped."""
        try:
            self.loop.run_until_complete(self._check())
        except FleetError as failure:
            sys.stderr.write(f"Error: {failure}\n")
            raise SystemExit(getattr(failure, "exit_code", 1)) from None
        try:
            super().execute_from_commandline()
        except SystemExit as leaving:
            # After all that Faust has to say about a crash, the sentence that helps comes last.
            if isinstance(self.crash_reason, FleetError):
                sys.stderr.write(f"Error: {self.crash_reason}\n")
            _leave(leaving)
            raise

    async def _stop_on_signal(self, signal: Any) -> None:
        # Before Faust stops anything: from then on it answers a rebalance by closing the consumer,
        # which then leaves its group without a word and holds everybody up for the session timeout.
        await self.app.host.drain()
        await self._rebalance_over()
        await super()._stop_on_signal(signal)

    async def _rebalance_over(self) -> None:
        deadline = self.loop.time() + _REBALANCE_SECONDS
        # Faust has a flag for it and no event.
        while self.app.rebalancing and self.loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def _check(self) -> None:
        for engine in self.app.host.engines:
            await provision.ensure(engine.topics, engine.charter.graph, engine.settings)
            _preload(engine.charter.workflow())


def _leave(leaving: SystemExit) -> None:
    """Leave at once where a thread of Faust's did not stop: Python would wait for it for ever."""
    stuck = [each for each in threading.enumerate() if isinstance(each, WorkerThread)]
    for each in stuck:
        each.join(_THREAD_SECONDS)
    if any(each.is_alive() for each in stuck):
        names = ", ".join(each.name for each in stuck)
        sys.stderr.write(f"Error: threads did not stop ({names}); leaving without them\n")
        sys.stderr.flush()
        os._exit(leaving.code if isinstance(leaving.code, int) and leaving.code else 1)


def _preload(workflow: object) -> None:
    if any(isinstance(member, LLM) for member in vars(type(workflow)).values()):
        connections.preload()


def _raise_open_files() -> None:
    """Allow as many open files as the system lets us: each LLM call in flight is a socket."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
