"""
Which runs end being remembered next: an index of their entries by time.

It is made from the entries wherever they are written, and is in the local copy of the state only:
the changelog does not know it. A key is the kind, the time and place of the end, and the run id, so
that an index key means one entry and no later one of the same run.
"""

import asyncio
import enum
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol, Self

from fleet.engine.transitions.runs import End, Run
from fleet.records import state
from fleet.records.state import View

INDEX = b"t\0"
#: It is there where the index was made together with the entries, or completed since.
COMPLETE = INDEX + b"\0"
#: How many entries are looked at in one turn of the loop.
_TURN_ENTRIES = 500
_PLACE = struct.Struct(">QQ")


class Kind(enum.Enum):
    """How long an entry is kept is a matter of its kind."""

    COMPLETED = b"c"
    AWAITING_RESUME = b"f"
    #: Of a run of which an event came and no start.
    UNSTARTED = b"s"

    @property
    def prefix(self) -> bytes:
        """What its keys in the index begin with."""
        return INDEX + self.value


class Entry(NamedTuple):
    """An entry of a run that is to be forgotten some time."""

    kind: Kind
    #: Since when it counts, in unix milliseconds of broker time.
    since_ms: int
    #: Of the end's record in `runs`; 0 of a run that was not started.
    offset: int
    run_id: str

    @property
    def key(self) -> bytes:
        """Its key in the index."""
        return self.kind.prefix + _PLACE.pack(self.since_ms, self.offset) + self.run_id.encode()

    @property
    def state_key(self) -> bytes:
        """The key of the entry itself."""
        of_run = state.seen_key if self.kind is Kind.UNSTARTED else state.end_key
        return of_run(self.run_id)

    @classmethod
    def decode(cls, key: bytes) -> Self:
        """Read a key of the index."""
        start = len(INDEX)
        since_ms, offset = _PLACE.unpack_from(key, start + 1)
        run_id = key[start + 1 + _PLACE.size :].decode()
        return cls(Kind(key[start : start + 1]), since_ms, offset, run_id)

    @classmethod
    def of(cls, key: bytes, value: bytes) -> Self:
        """Return the entry that the state has under *key*."""
        if key.startswith(state.SEEN):
            run_id = key[len(state.SEEN) :].decode()
            return cls(Kind.UNSTARTED, Run.decode(value).seen_ms, 0, run_id)
        end = End.decode(value)
        kind = Kind.AWAITING_RESUME if end.resumable else Kind.COMPLETED
        return cls(kind, end.ended_ms, max(0, end.offset), key[len(state.END) :].decode())


class Store(View, Protocol):
    """The part of a task's store that is needed here."""

    def write(self, changes: Mapping[bytes, bytes | None], state_offset: int) -> None:
        """See `fleet.engine.ledger.StateStore`."""
        ...

    def scan(self, prefix: bytes, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """See `fleet.engine.ledger.StateStore`."""
        ...


def extended(view: View, changes: Mapping[bytes, bytes | None]) -> Mapping[bytes, bytes | None]:
    """Return *changes* of the state that *view* shows together with those of the index."""
    indexed: dict[bytes, bytes | None] = {}
    for key, value in changes.items():
        if not key.startswith((state.END, state.SEEN)):
            continue
        before = view.get(key)
        if before is not None:
            indexed[Entry.of(key, before).key] = None
        if value is not None:
            indexed[Entry.of(key, value).key] = b""
    return {**changes, **indexed} if indexed else changes


async def complete(store: Store) -> None:
    """Index what an earlier version has kept; looks at all of it, once."""
    if store.get(COMPLETE) is not None:
        return
    for prefix in (state.END, state.SEEN):
        for entries in _turns(store, prefix):
            store.write({Entry.of(*entry).key: b"" for entry in entries}, 0)
            await asyncio.sleep(0)
    store.write({COMPLETE: b""}, 0)


def _turns(store: Store, prefix: bytes) -> Iterator[list[tuple[bytes, bytes]]]:
    after = prefix
    while entries := store.scan(prefix, after, _TURN_ENTRIES):
        yield entries
        after = entries[-1][0]
