"""
`ctx.collect_events`: a step gathers events over several of its attempts.

A buffer belongs to a step and a run. Its *head* says how many events of each type it has, so a
look costs the same for two events and for thousands; each event has an entry of its own. What an
attempt adds takes effect with its result. If another attempt has changed the buffer since, the
attempt is stale, and is run again.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic_core import from_json, to_json

from fleet.records import state
from fleet.records.events import Event, decoded, encoded, type_name
from fleet.records.state import Overlay, View


@dataclass(frozen=True, slots=True)
class Collected:
    """What an attempt has collected."""

    #: Changes of the state; None deletes.
    changes: Mapping[bytes, bytes | None]
    #: The head of each buffer that it has changed, as it was before.
    before: Mapping[bytes, bytes | None]

    def is_stale(self, view: View) -> bool:
        """Tell whether another attempt has changed one of the buffers since."""
        return any(view.get(key) != head for key, head in self.before.items())


@dataclass(slots=True)
class _Head:
    """How much a buffer has."""

    #: Of each type, by its name.
    counts: Counter[str] = field(default_factory=Counter)
    #: The number of the next event.
    next: int = 0

    def encode(self) -> bytes:
        return to_json([self.next, dict(self.counts)])


class Buffers:
    """The buffers of one attempt's step, with what the attempt does to them."""

    def __init__(self, view: View, run_id: str, step: str) -> None:
        self._state = Overlay(view)
        self._run_id = run_id
        self._step = step
        self._before: dict[bytes, bytes | None] = {}

    def collect(
        self, event: Event, expected: Sequence[type[Event]], buffer_id: str
    ) -> list[Event] | None:
        """Add *event*; return the events when all *expected* are there, in that order.

        What is not expected, or is there already, is dropped.
        """
        if not expected:
            return []
        buffer = _buffer(self._step, buffer_id)
        head = self._head(buffer)
        wanted = Counter(type_name(kind) for kind in expected)
        kind = type_name(event)
        missing = wanted - head.counts
        if not missing[kind]:
            return None
        key = self._head_key(buffer)
        self._before.setdefault(key, self._state.get(key))
        if missing.total() > 1:
            self._add(buffer, head, event)
            return None
        return self._take(buffer, event, expected)

    def collected(self) -> Collected | None:
        """Return what was done; None if that is nothing."""
        return Collected(dict(self._state.changes), self._before) if self._before else None

    def _head_key(self, buffer: str) -> bytes:
        return state.head_key(self._run_id, buffer)

    def _head(self, buffer: str) -> _Head:
        value = self._state.get(self._head_key(buffer))
        if value is not None:
            number, counts = from_json(value)
            return _Head(Counter(counts), number)
        # It is left out if a result was taken out of a commit: then it is counted.
        return self._counted(buffer)

    def _counted(self, buffer: str) -> _Head:
        prefix, head = state.buffered_prefix(self._run_id, buffer), _Head()
        for key, value in self._state.items(prefix):
            head.counts[value.partition(b"\0")[0].decode()] += 1
            head.next = int(key[len(prefix) :]) + 1
        return head

    def _add(self, buffer: str, head: _Head, event: Event) -> None:
        key = b"%b%010d" % (state.buffered_prefix(self._run_id, buffer), head.next)
        self._state.put(key, b"%b\0%b" % (type_name(event).encode(), encoded(event)))
        head.counts[type_name(event)] += 1
        head.next += 1
        self._state.put(self._head_key(buffer), head.encode())

    def _take(self, buffer: str, event: Event, expected: Sequence[type[Event]]) -> list[Event]:
        prefix = state.buffered_prefix(self._run_id, buffer)
        types = {type_name(kind): kind for kind in expected}
        by_type: dict[str, list[Event]] = {name: [] for name in types}
        for _, entry in self._state.items(prefix):
            name, _, value = entry.partition(b"\0")
            event_type = types.get(name.decode())
            # An earlier attempt may have expected others, too.
            if event_type is not None:
                by_type[name.decode()].append(decoded(event_type, value))
        by_type[type_name(event)].append(event)
        self._state.delete_all(prefix)
        self._state.delete(self._head_key(buffer))
        return [by_type[type_name(kind)].pop(0) for kind in expected]


def _buffer(step: str, buffer_id: str) -> str:
    """Return the name of a buffer in state keys, which no step and no NUL may change."""
    return hashlib.blake2b(f"{step}\0{buffer_id}".encode(), digest_size=12).hexdigest()
