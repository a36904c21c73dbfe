"""
Programs of the benchmarks end by themselves, also when nobody is left who would end them.

Every one calls `begin` first.
"""

import os
import signal

VARIABLE = "BENCH_SECONDS"


def begin() -> None:
    """Have SIGALRM end this process after BENCH_SECONDS."""
    signal.alarm(int(os.environ.get(VARIABLE, "600")))
