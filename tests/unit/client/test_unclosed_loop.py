"""What was started in an event loop that nobody closes is stopped when the process ends."""

import subprocess
import sys

SCRIPT = """
import asyncio

from fleet.client import unclosed_loop


async def lifetime():
    try:
        yield
    finally:
        await asyncio.sleep(0.2)
        print("stopped in order")


async def main():
    unclosed_loop.watch(asyncio.get_running_loop())
    await anext(generator)


generator = lifetime()
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
"""


def end_of(script: str) -> tuple[str, str]:
    """Return what a process that runs the script says, and what it complains of."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout, done.stderr


def test_a_generator_is_closed_at_the_end() -> None:
    """To its end, which takes a while."""
    assert end_of(SCRIPT) == ("stopped in order\n", "")


def test_a_loop_that_is_to_stop_stops_after_it() -> None:
    """A notebook kernel has its loop stop some moments after its last message."""
    assert end_of(f"{SCRIPT}loop.call_later(0.05, loop.stop)\n") == ("stopped in order\n", "")
