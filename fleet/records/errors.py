"""
What can go wrong, in sentences.

An error states a fact, the evidence and the way out. `permanent` says whether another attempt can
help, so that a retry asks the error instead of matching its text. `exit_code` is how a command ends
that fails with it. `address` is the section of the reference that describes it: commands print it
below the error. It is a page of the repository and not of the web, so it needs no network, and it
fits the version that you have.
"""

from enum import IntEnum
from typing import Any, ClassVar


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


#: The page that has a section for each error.
_PAGE = "docs/reference.md"
_OURS = "fleet."


class FleetError(Exception):
    """Base of all errors that Fleet raises on purpose; its text is for people.

    What to do: Read its text: it names the fact, the evidence and the way out. `error.address`
    names the section of this page.
    """

    #: True when the same attempt cannot succeed later.
    permanent = True
    #: How a command ends that this error ends.
    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    #: Where the reference describes this error: a page of the repository, and a heading on it.
    address: ClassVar[str] = f"{_PAGE}#fleeterror"

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        # A subclass that you write, or that is private, keeps the address of its base.
        if cls.__module__.startswith(_OURS) and not cls.__name__.startswith("_"):
            cls.address = f"{_PAGE}#{cls.__name__.lower()}"
