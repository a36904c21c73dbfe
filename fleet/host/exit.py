"""
How a worker process ends: within a time, and with a code that a supervisor can trust.

A step may hold a thread. A client may wait for a broker that is gone, and Faust may wait for
either. The process ends all the same, before its supervisor has to kill it: what was committed is
safe, and the rest runs again elsewhere.
"""

import os
import sys
import threading

from mode.threads import WorkerThread

#: How long a worker may take to end beside letting its steps finish, in seconds.
STOP_SECONDS = 30.0
#: How long a thread may take to end after everything was stopped, in seconds.
_THREAD_SECONDS = 2.0


def exit_within(seconds: float) -> None:
    """End this process after *seconds*, unless it has ended by then."""
    timer = threading.Timer(seconds, _exit_late, (seconds,))
    timer.daemon = True
    timer.start()


def exit_if_stuck(code: object) -> None:
    """Exit at once if a thread of Faust's did not stop: Python would wait for it for ever."""
    stuck = [thread for thread in threading.enumerate() if isinstance(thread, WorkerThread)]
    for thread in stuck:
        thread.join(_THREAD_SECONDS)
    if any(thread.is_alive() for thread in stuck):
        names = ", ".join(thread.name for thread in stuck)
        _exit(f"threads did not stop ({names}); exiting without them", code)


def _exit_late(seconds: float) -> None:
    _exit(f"this worker did not stop within {seconds:.0f} seconds; exiting as it is", 1)


def _exit(sentence: str, code: object) -> None:
    # Not `sys.stderr`: Faust has replaced it, and makes a log line of the sentence.
    out = sys.__stderr__ or sys.stderr
    out.write(f"Error: {sentence}\n")
    out.flush()
    os._exit(code if isinstance(code, int) and code else 1)
