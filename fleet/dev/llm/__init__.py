"""
A scripted language model, for demos and tests without a key: `python -m fleet.dev.llm`.

All its answers and its output say that it is scripted, so no reader takes it for a model.
"""

import asyncio
import signal
from collections.abc import Callable

from fleet.dev.fault_kinds import FaultKind
from fleet.dev.llm.faults import Answer, Behaviour, Fault
from fleet.dev.llm.process import ScriptedNotStarted, ScriptedProcess, start_process
from fleet.dev.llm.server import HOST, PortUnavailable, ScriptedLLM

__all__ = [
    "Answer",
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
