"""Whether calls may be made that cost something: in the replay of a run only recorded ones are."""

from contextvars import ContextVar

from fleet.records import printable
from fleet.records.errors import FleetError

#: Set around a replay; the tasks and threads of its steps inherit it.
RECORDED_ONLY: ContextVar[bool] = ContextVar("fleet_recorded_only", default=False)
#: Longest part of a prompt that an error shows, in characters.
_SHOWN = 200


class NoRecordedAnswer(FleetError):
    """Raised in the replay of a run by a call whose answer the export does not have.

    What to do: Nothing was called and nothing paid. The call was never answered in the run, or asks
    something else since the code has changed. Write `replay(run, live=True)` to make such calls.
    """

    def __init__(self, call: str) -> None:
        super().__init__(
            f"the replay has no recorded answer for {call}: in the run it had none, or asked "
            "something else; write replay(run, live=True) to make such calls"
        )


def check(call: str) -> None:
    """Raise NoRecordedAnswer for *call*, in words, if only recorded calls may be made."""
    if RECORDED_ONLY.get():
        raise NoRecordedAnswer(printable.line(call[:_SHOWN]))
