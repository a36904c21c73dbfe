"""What a group's state has of one run: whether it goes on or has ended, and its context."""

from collections.abc import Iterable

from fleet.records import state
from fleet.records.position import Position
from fleet.records.state import MemoryState


class RunEntries:
    """The entries of one run, as they are taken one after the other.

    *runs* is the workflow's topic of that name: the group's position in it is taken, too.
    """

    def __init__(self, run_id: str, runs: str = "") -> None:
        #: The run's values, under their state keys.
        self.context = MemoryState()
        #: The state value of the run's end; None if it has not ended, or that is forgotten.
        self.end: bytes | None = None
        #: Whether the state has anything of the run.
        self.known = False
        #: Ends at lower offsets of `runs` are in the state.
        self.runs_position = 0
        self._position_key = state.position_key(runs)
        self._prefix = state.context_prefix(run_id)
        self._end_key = state.end_key(run_id)
        self._open: dict[bytes, bytes | None] = {
            state.run_key(run_id): None,
            state.seen_key(run_id): None,
        }

    def take(self, key: bytes, value: bytes | None) -> None:
        """Take an entry of the state; None: it was deleted. Those of other runs are passed over."""
        if key.startswith(self._prefix):
            self.context.write({key: value})
        elif key == self._end_key:
            self.end = value
        elif key in self._open:
            self._open[key] = value
        elif key == self._position_key:
            self.runs_position = Position.decode(value).lowest if value is not None else 0
        self.known = self.end is not None or self.open is not None

    @property
    def open(self) -> bytes | None:
        """The state value of the run, as long as its group keeps one."""
        return next((value for value in self._open.values() if value is not None), None)

    def take_all(self, entries: Iterable[tuple[bytes, bytes]]) -> "RunEntries":
        """Take entries; return itself."""
        for key, value in entries:
            self.take(key, value)
        return self

    @property
    def prefix(self) -> bytes:
        """The first part of the keys of the run's values."""
        return self._prefix
