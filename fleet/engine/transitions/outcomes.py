"""What an attempt of a step ends with."""

from dataclasses import dataclass
from typing import NamedTuple

from fleet.records.calls import Call
from fleet.records.events import Event
from fleet.workflow.collecting import Collected
from fleet.workflow.suspending import Until


class Sent(NamedTuple):
    """An event that a step sends, with the step it is meant for or None."""

    event: Event
    step: str | None = None
    #: As it was when it was sent; None for one that nothing was done to since.
    value: bytes | None = None
    #: The step returned it, alone or in a list.
    returned: bool = False


class Returned(NamedTuple):
    """The attempt succeeded."""

    #: What was sent, the returned event last.
    sent: tuple[Sent, ...]
    #: Changes of the context by state key; None deletes.
    changes: dict[bytes, bytes | None]
    #: It returned a list.
    fans_out: bool = False
    #: What it has collected; see `workflow.collecting`.
    collected: Collected | None = None
    #: How many blocks of `edit_state()` it has begun.
    edits: int = 0
    #: The recorded calls that it has asked for and no other step shares.
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Raised:
    """The attempt failed."""

    error: BaseException
    #: A handler gets the failure (`@catch_error`).
    caught: bool = False


class Suspends(NamedTuple):
    """The attempt ended because its step waits."""

    until: Until


Outcome = Returned | Raised | Suspends
