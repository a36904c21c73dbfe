"""
The worker process: what `faust -A module worker` starts for an app of ours.

What cannot work is said in one sentence before Faust starts its services, and the exit code is not
zero.
"""

import errno
import socket
import sys
from typing import NoReturn

import faust

from fleet.records.errors import FleetError
from fleet.runtime import logs, provision

_log = logs.get_logger("worker")


class Worker(faust.Worker):  # type: ignore[misc]
    """Faust's worker with a check before it starts."""

    def execute_from_commandline(self) -> NoReturn:
        """Check the broker and its topics, then run until stopped."""
        try:
            self.loop.run_until_complete(self._check())
        except FleetError as failure:
            sys.stderr.write(f"Error: {failure}\n")
            raise SystemExit(getattr(failure, "exit_code", 1)) from None
        self._choose_web_port()
        super().execute_from_commandline()

    async def _check(self) -> None:
        for engine in self.app.host.engines:
            await provision.ensure(engine.topics, engine.charter.graph, engine.settings)

    def _choose_web_port(self) -> None:
        """Take another port where the wanted one is taken: several workers share a host."""
        conf = self.app.conf
        if not conf.web_enabled or conf.web_transport.scheme != "tcp":
            return
        if _is_free(conf.web_bind, conf.web_port):
            return
        wanted, conf.web_port = conf.web_port, _free_port(conf.web_bind)
        conf.canonical_url = f"http://{conf.web_host}:{conf.web_port}"
        _log.warning("web_port_taken", wanted=wanted, chosen=conf.web_port)


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as failure:
            return failure.errno != errno.EADDRINUSE
        return True


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port

