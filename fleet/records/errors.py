"""
What can go wrong, in sentences.

An error states a fact, the evidence and the way out. `permanent` says whether trying again can
help, so that a retry asks the error instead of matching its text. `exit_code` says how a command
ends that fails with it.
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """How a command ends, for scripts: the one table of the command line."""

    #: Done, or there was nothing to do.
    DONE = 0
    #: Failed: a run failed or timed out, or something on this machine or on the broker is broken.
    FAILED = 1
    #: Refused, and nothing was changed: wrong usage, a name that nothing has, a state that does not
    #: allow it, or you did not agree.
    REFUSED = 2
    #: Partly done: the sentence says what is left, and why.
    PARTLY_DONE = 3
    #: No broker answers. Wait, and try again.
    UNREACHABLE = 4
    #: A limit that you set is crossed, as that of `fleet lag --fail-above-seconds`.
    ABOVE_LIMIT = 5
    #: Ctrl-C: 128 and the number of the signal, as shells count; SIGTERM is 143.
    INTERRUPTED = 130


class FleetError(Exception):
    """Base of all errors that Fleet raises on purpose; its text is meant for people."""

    #: True when the same attempt cannot succeed later.
    permanent = True
    #: How a command ends that this error ends.
    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
