"""
A scripted language model, for demos and tests without a key: `python -m fleet.dev.llm`.

It is labelled as scripted in whatever it answers and prints, so that nobody takes it for a model.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable

from fleet.dev.llm_faults import Behaviour, Fault, FaultKind
from fleet.dev.llm_process import ScriptedNotStarted, ScriptedProcess, start_process
from fleet.dev.llm_server import HOST, PortUnavailable, ScriptedLLM
from fleet.records.errors import FleetError

__all__ = [
    "Behaviour",
    "Fault",
    "FaultKind",
    "PortUnavailable",
    "ScriptedLLM",
    "ScriptedNotStarted",
    "ScriptedProcess",
    "banner",
    "serve",
    "start_process",
]


def banner(base_url: str) -> str:
    """Return the line that says what this is and how to use it."""
    return (
        f"Scripted LLM, no model behind it, at {base_url} "
        f"(use: OPENAI_BASE_URL={base_url} OPENAI_API_KEY=scripted)"
    )


async def serve(
    behaviour: Behaviour, port: int, ready: Callable[[str], object], host: str = HOST
) -> None:
    """Serve until SIGINT or SIGTERM; *ready* gets the base URL once calls are answered."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    server = ScriptedLLM(behaviour)
    await server.start(port, host)
    try:
        ready(server.base_url)
        await ended.wait()
    finally:
        await server.stop()


def main() -> int:
    """Run as a process of its own, for `start_process`; people use `fleet dev llm`."""
    parser = argparse.ArgumentParser(prog="python -m fleet.dev.llm", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--behaviour", type=Behaviour.model_validate_json, default=Behaviour())
    parser.add_argument("--ready-fd", type=int, help="gets the base URL, then is closed")
    options = parser.parse_args()
    try:
        asyncio.run(
            serve(options.behaviour, options.port, lambda url: _tell(url, options.ready_fd))
        )
    except FleetError as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    return 0


def _tell(base_url: str, ready_fd: int | None) -> None:
    sys.stdout.write(f"{banner(base_url)}\n")
    sys.stdout.flush()
    if ready_fd is not None:
        with os.fdopen(ready_fd, "w") as ready:
            ready.write(f"{base_url}\n")


if __name__ == "__main__":
    sys.exit(main())
