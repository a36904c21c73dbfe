"""
How a worker process ends: within a time, and with a code that a supervisor can trust.

A step may hold a thread, a client may wait for a broker that is gone, Faust may wait for either.
Whatever it is, a process that was told to end does, before its supervisor has to kill it: what was
committed is safe, and the rest runs again elsewhere.
"""

import os
import sys
import threading

from mode.threads import WorkerThread

#: How long a worker may take to end beside letting its steps finish, in seconds.
STOP_SECONDS = 30.0
#: How long a thread may take to end after everything was stopped, in seconds.
_THREAD_SECONDS = 2.0


def leave_within(seconds: float) -> None:
    """End this process after *seconds*, where it has not ended by itself."""
    timer = threading.Timer(seconds, _give_up, (seconds,))
    timer.daemon = True
    timer.start()


def leave(code: object) -> None:
    """Leave at once where a thread of Faust's did not stop: Python would wait for it for ever."""
    stuck = [each for each in threading.enumerate() if isinstance(each, WorkerThread)]
    for each in stuck:
        each.join(_THREAD_SECONDS)
    if any(each.is_alive() for each in stuck):
        names = ", ".join(each.name for each in stuck)
        _leave(f"threads did not stop ({names}); leaving without them", code)


def _give_up(seconds: float) -> None:
    _leave(f"this worker did not stop within {seconds:.0f} seconds; leaving as it is", 1)


def _leave(sentence: str, code: object) -> None:
    # Not what Faust has put in its place, which makes a log line of it.
    out = sys.__stderr__ or sys.stderr
    out.write(f"Error: {sentence}\n")
    out.flush()
    os._exit(code if isinstance(code, int) and code else 1)
