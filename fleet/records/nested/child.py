"""What a step's state has of a run that it awaits: a recorded call, begun and then ended."""

from typing import Self

from pydantic import Field

from fleet.records import lifecycle
from fleet.records.calls import Call
from fleet.records.entry import Entry
from fleet.records.lifecycle import Completed, Lifecycle

#: The kind of the calls.
KIND = "child"


class Child(Entry):
    """One run that a step has started."""

    run_id: str
    #: Where its topics are: `<prefix>.<workflow>`.
    workflow: str
    partition: int = 0
    #: How often the call has started a run before this one.
    earlier: int = 0
    #: It gives nothing: the run was cancelled with its parent, or the step has failed with its
    #: error. The next attempt starts another run.
    void: bool = False
    #: The kind of its terminal record; empty while it runs.
    ended: str = ""
    #: That record. It stands behind the JSON.
    value: bytes = Field(b"", exclude=True)

    def encode(self) -> bytes:
        """Return the state value: JSON, a NUL, the terminal record."""
        return b"%b\0%b" % (super().encode(), self.value)

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a state value."""
        entry, _, ended = value.partition(b"\0")
        return super().decode(entry).model_copy(update={"value": ended})

    @property
    def is_open(self) -> bool:
        """Whether the step awaits its end."""
        return not self.ended and not self.void

    @property
    def runs(self) -> str:
        """The topic of its lifecycle."""
        return f"{self.workflow}.runs"

    @property
    def shown(self) -> str:
        """Its workflow and its run, in a word each."""
        return f"{self.workflow.rpartition('.')[2]} {self.run_id}"

    @property
    def terminal(self) -> Lifecycle:
        """How it ended."""
        return lifecycle.decode(self.ended, self.value)

    def voided(self) -> Self:
        """Return it as one that gives nothing."""
        return self.model_copy(update={"void": True, "ended": "", "value": b""})

    def with_end(self, kind: str, value: bytes) -> Self:
        """Return it with its end."""
        return self.model_copy(update={"void": False, "ended": kind, "value": value})

    def takes(self, run_id: str, kind: str) -> bool:
        """Tell whether the end of a run is the one that it has not got."""
        if run_id != self.run_id:
            return False
        # What a run has given before it was cancelled is paid for.
        return self.is_open or (self.void and kind == Completed.kind)


def call_of(workflow: str, number: int) -> Call:
    """Return the recorded call of the *number*-th run of a workflow that an attempt asks for."""
    return Call(KIND, f"{workflow} {number}")
