"""`python -m fleet.dev.llm`: a scripted language model as a process of its own."""

import argparse
import asyncio
import os
import sys

from fleet.dev.llm import Behaviour, banner, serve
from fleet.records.errors import FleetError


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
