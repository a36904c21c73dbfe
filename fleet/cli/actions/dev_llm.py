"""What `fleet dev llm` does."""

import asyncio

from fleet.cli.shared import terminal
from fleet.dev import llm
from fleet.dev.fault_kinds import FaultKind
from fleet.dev.llm.faults import Behaviour, Fault


def serve(port: int, host: str, fail_rate: float, fail_with: FaultKind, **behaviour: float) -> None:
    """Serve until SIGTERM or SIGINT; raises PortUnavailable."""
    faults = (Fault(kind=fail_with, rate=fail_rate),) if fail_rate else ()
    settings = Behaviour.model_validate({**behaviour, "faults": faults})
    asyncio.run(
        llm.serve(settings, port, ready=lambda url: terminal.echo(llm.banner(url)), host=host)
    )
