"""
What a step group stands on: logs, stores, a stream, a clock, and who hears of it all.

Everything that the engine does outside of its own memory goes through these ports. `fleet.kafka`
fills them with a broker and RocksDB; a simulation fills them with what fails in all its ways.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from fleet.engine.context.children import Places
from fleet.engine.context.showing import StreamWriter
from fleet.engine.ledger import StateStore
from fleet.engine.log import Log
from fleet.engine.observing import Observer
from fleet.records.errors import FleetError
from fleet.records.log import Delivered

if TYPE_CHECKING:
    from fleet.engine.step_group import Engine


class StateInUse(FleetError):
    """Raised when another process holds a task's data folder.

    What to do: Give each worker a `FLEET_DATA_DIR` or `--datadir` of its own.
    """

    permanent = False

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(
            f"the state in {folder} cannot be opened ({reason}); one data folder is for one "
            "process: give each worker its own FLEET_DATA_DIR or --datadir"
        )


class StateStillOpen(StateInUse):
    """Raised when this process itself still holds the folder, for a task that is being closed.

    What to do: Nothing: the worker tries again when the task has closed.
    """


class TaskLog(Log, Protocol):
    """A log that is to be started before anything is committed to it."""

    async def start(self) -> None:
        """Take the task's id: fence a predecessor, abort what it left open."""
        ...


class LocalStore(StateStore, Protocol):
    """A local copy of a changelog, kept over restarts."""

    @property
    def state_offset(self) -> int:
        """Changelog offset at which loading continues; 0 for a new copy."""
        ...

    @property
    def appended_ms(self) -> int:
        """When the newest of it was appended, in unix milliseconds; 0 if that is not known."""
        ...

    #: The id of the topic that it is a copy of, which is kept with each offset; empty if the
    #: broker tells none.
    log_id: str

    def reset(self) -> None:
        """Remove everything."""
        ...


class Loader(Protocol):
    """A reader of one partition number, in no consumer group; entered with `async with`."""

    @property
    def discarded(self) -> str:
        """Why the local state was thrown away, in a word; empty if it was not."""
        ...

    @property
    def remaining(self) -> int:
        """Offsets before the end of what is being read."""
        ...

    @property
    def place(self) -> tuple[str, int]:
        """The topic that is being read, and the offset that was reached."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def load_state(
        self, topic: str, store: LocalStore, ask_time: Callable[[], Awaitable[int]]
    ) -> int:
        """Bring *store* up to the changelog's end; return how many records were read.

        *ask_time* appends to the changelog and returns when that was, in unix milliseconds.
        """
        ...

    async def read(self, topic: str, offset: int, take: Callable[[Delivered], None]) -> None:
        """Hand the records of *topic* from *offset* up to its end to *take*."""
        ...

    async def ends(self, topics: Iterable[str]) -> dict[str, int]:
        """Return the last stable offset of each topic's partition."""
        ...

    async def begins(self, topics: Iterable[str]) -> dict[str, int]:
        """Return the first offset of each topic's partition: what is below it is gone."""
        ...

    async def log_ids(self, topics: Iterable[str]) -> Mapping[str, str]:
        """Return the id of each topic that is there, empty if the broker tells none."""
        ...

    async def first(self, offsets: Mapping[str, int]) -> dict[str, Delivered]:
        """Return the first record of each topic from an offset on, of those that are there now."""
        ...


class Stream(StreamWriter, Protocol):
    """Writes what steps show, outside of all transactions."""

    async def start(self) -> None:
        """Connect."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


class Backend(Protocol):
    """Makes what the tasks of one step group stand on."""

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What a log or a loader raises that may pass by itself."""
        ...

    @property
    def refusals(self) -> tuple[type[Exception], ...]:
        """Of these, what does not pass: the broker knows what we want and refuses it."""
        ...

    async def open(self, folder: Path) -> int:
        """Get ready, with state below *folder*; return the partition count of the topics."""
        ...

    def log(self, name: str, partition: int) -> TaskLog:
        """Return the log of the task *name*, which is not started."""
        ...

    def loader(self, partition: int) -> Loader:
        """Return a reader of what a task of *partition* needs before it takes records."""
        ...

    def stream(self) -> Stream:
        """Return the step group's stream, which is not started."""
        ...

    def store(self, partition: int) -> LocalStore:
        """Open the local state of a partition."""
        ...

    def discard(self, partition: int) -> None:
        """Remove the local state of a partition, which is closed; raises OSError."""
        ...

    async def group_offsets(
        self, group: str, topics: Iterable[str], partition: int
    ) -> Mapping[str, int]:
        """Return what a consumer group has committed of a partition number, if it has."""
        ...

    def workflows(self) -> Places:
        """Return where the workflows are that the group's steps run."""
        ...

    def monotonic(self) -> float:
        """Return a clock that never goes back and never stands still, in seconds."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...

    @property
    def clients(self) -> Any:
        """Makes further clients of the same broker, for who hosts the engine."""
        ...


class GroupObserver(Observer, Protocol):
    """Hears what a step group does, for metrics."""

    def opened(self, engine: "Engine") -> None:
        """Hear that *engine* has begun: its tasks can be looked at."""
        ...

    def closed(self, engine: "Engine") -> None:
        """Hear that *engine* has ended."""
        ...

    def state_discarded(self, reason: str) -> None:
        """Hear that a local state was thrown away; *reason* is a word."""
        ...

    def loaded(self, seconds: float) -> None:
        """Hear that a task was loaded, and how long that took."""
        ...

    def rebalanced(self) -> None:
        """Hear that partitions were assigned."""
        ...

    def served_again(self, seconds: float) -> None:
        """Hear that everything is served again, *seconds* after a rebalance began."""
        ...

    def loop_blocked(self, step: str, seconds: float) -> None:
        """Hear that *step* kept the event loop from turning."""
        ...
