"""
The scripted model, ended with the measurement that it is for: `python -m` this.

It writes its address to the file `llm.url` once it answers.
"""

import asyncio
import os
from pathlib import Path

from benchmarks import bound
from fleet.dev import llm

_FILE = Path(os.environ["BENCH_FOLDER"]) / "llm.url"
_LATENCY_SECONDS = float(os.environ["BENCH_STEP_SECONDS"])


def tell(address: str) -> None:
    """Write the address, all of it at once."""
    part = _FILE.with_suffix(".part")
    part.write_text(address)
    part.rename(_FILE)


if __name__ == "__main__":
    bound.begin()
    asyncio.run(llm.serve(llm.Behaviour(latency_seconds=_LATENCY_SECONDS), 0, tell))
