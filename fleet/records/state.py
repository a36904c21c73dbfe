"""
The layout of a group's state, and views of it.

State maps bytes to bytes, the same in RocksDB, in its changelog and in memory. A key begins with a
letter for its kind; a NUL separates the parts that follow. The layout is a wire format: the
changelog keeps it for as long as runs last.

    m                             partition count and format version
    p <topic>                     position in an input topic
    r <run id>                    an open run
    s <run id>                    a run that has an event and no start yet
    e <run id>                    the end of a run
    c <run id> <path>             one value of a run's context
    d <topic> <offset> <step>     a step that is done with an event before its siblings
    k <run id> <event id> <step>  suspended work of a run that ended, until its resume
    w <run id> <event id> <step>  suspended work of a run that goes on; done when it has run
    t <kind> <time> <run id>      when to forget a run; only in local copies, see `ends_index`
    m running                     the process that has the task; deleted when it stops in order
    m nothing                     never there: a delete of it is appended to learn the broker's time
    z <run id> <event id> <step>  suspended work that waits for a time or an event
    y <time> <run id> <event id> <step>  when such work is due, in unix milliseconds, 15 digits
    n <run id> <order> <event id>  an answer that no step waits for yet; see `transitions.waiting`
    x <run id> <event id> <step>  deaths of processes with a step, and whether it is begun again
    o <run id> <scope>            a fan-out that has joins, until all of its work is done
    i <run id> <scope> <event id> <step>          work of a fan-out that is not done
    j <run id> <batch> <step> <order> <event id>  an event that a join has; see `transitions.joins`
    h <run id> <buffer>           what a step collects: how much of each type there is
    b <run id> <buffer> <number>  an event that a step has collected; see `workflow.collecting`
    g <run id> <event id> <step> <n>  what the n-th edit of the context by a step replaced
    u <run id> <event id> <step> <call>  what a recorded call of a step gave; see `records.calls`.
                                  Event and step are empty for a call that all steps share. A
                                  call that begins with `refused` is one whose answer its step has
                                  refused: only an export of the run reads it
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Protocol

from sortedcontainers import SortedDict

from fleet.records.calls import SET_ASIDE

META = b"m"
POSITION = b"p\0"
RUN = b"r\0"
SEEN = b"s\0"
END = b"e\0"
CONTEXT = b"c\0"
DONE = b"d\0"
AWAITING_RESUME = b"k\0"
SUSPENDED = b"w\0"
WAITING = b"z\0"
DUE = b"y\0"
ANSWER = b"n\0"
RUNNING = b"m\0running"
NOTHING = b"m\0nothing"
SUSPECT = b"x\0"
SCOPE = b"o\0"
ITEM = b"i\0"
MEMBER = b"j\0"
BUFFER_HEAD = b"h\0"
BUFFERED = b"b\0"
EDIT = b"g\0"
CALL = b"u\0"

#: Parts of the key of a recorded call before its name.
_CALL_PARTS = 4
#: Up to this many changes are looked through one by one.
FEW_CHANGES = 32
#: About how many bytes an entry takes besides its value: key, objects.
_ENTRY_BYTES = 200


def position_key(topic: str) -> bytes:
    """Return the key of the position in *topic*."""
    return POSITION + topic.encode()


def run_key(run_id: str) -> bytes:
    """Return the key of an open run."""
    return RUN + run_id.encode()


def seen_key(run_id: str) -> bytes:
    """Return the key of a run that has not started yet."""
    return SEEN + run_id.encode()


def end_key(run_id: str) -> bytes:
    """Return the key of a run's end."""
    return END + run_id.encode()


def context_prefix(run_id: str) -> bytes:
    """Return the first part of the keys of a run's context."""
    return b"%b%b\0" % (CONTEXT, run_id.encode())


def done_prefix(topic: str, offset: int) -> bytes:
    """Return the first part of the keys of the steps that are done with an event."""
    return b"%b%b\0%d\0" % (DONE, topic.encode(), offset)


def awaiting_prefix(run_id: str) -> bytes:
    """Return the first part of the keys of a run's work that awaits its resume."""
    return b"%b%b\0" % (AWAITING_RESUME, run_id.encode())


def awaiting_key(run_id: str, event_id: str, step: str) -> bytes:
    """Return the key of one step that awaits the resume of its run."""
    return b"%b%b\0%b" % (awaiting_prefix(run_id), event_id.encode(), step.encode())


def suspended_prefix(run_id: str) -> bytes:
    """Return the first part of the keys of a run's suspended work."""
    return b"%b%b\0" % (SUSPENDED, run_id.encode())


def suspended_key(run_id: str, event_id: str, step: str) -> bytes:
    """Return the key of one suspended step of a run."""
    return b"%b%b\0%b" % (suspended_prefix(run_id), event_id.encode(), step.encode())


def waiting_prefix(run_id: str) -> bytes:
    """Return the first part of the keys of a run's work that waits for a time or an event."""
    return b"%b%b\0" % (WAITING, run_id.encode())


def waiting_key(run_id: str, event_id: str, step: str) -> bytes:
    """Return the key of one step of a run that waits for a time or an event."""
    return b"%b%b\0%b" % (waiting_prefix(run_id), event_id.encode(), step.encode())


def due_key(due_ms: int, waiting: bytes) -> bytes:
    """Return the key that says when the work under the key *waiting* is due."""
    return b"%b%015d\0%b" % (DUE, due_ms, waiting[len(WAITING) :])


def due_of(key: bytes) -> tuple[int, bytes]:
    """Return when work is due, in unix milliseconds, and under which key it waits."""
    time, _, rest = key[len(DUE) :].partition(b"\0")
    return int(time), WAITING + rest


def answers_prefix(run_id: str) -> bytes:
    """Return the first part of the keys of the answers that no step of a run waits for yet."""
    return b"%b%b\0" % (ANSWER, run_id.encode())


def answer_key(run_id: str, order: int, event_id: str) -> bytes:
    """Return the key of one such answer; *order*, of up to 16 digits, is that of their coming."""
    return b"%b%016d\0%b" % (answers_prefix(run_id), order, event_id.encode())


def run_of_suspended(key: bytes) -> str:
    """Return the run of suspended work."""
    return key[len(SUSPENDED) :].partition(b"\0")[0].decode()


def noted_key(suspended: bytes, name: str) -> bytes:
    """Return the key of what a call gave to the step of an entry of suspended work, by its key."""
    run_id, event_id, step = suspended[len(SUSPENDED) :].decode().split("\0", 2)
    return call_key(run_id, event_id, step, name)


def suspect_prefix(run_id: str) -> bytes:
    """Return the first part of the keys of a run's steps that may have ended a process."""
    return b"%b%b\0" % (SUSPECT, run_id.encode())


def suspect_key(run_id: str, event_id: str, step: str) -> bytes:
    """Return the key of one step that may have ended a process."""
    return b"%b%b\0%b" % (suspect_prefix(run_id), event_id.encode(), step.encode())


def scope_prefix(run_id: str) -> bytes:
    """Return the first part of the keys of a run's open fan-outs."""
    return b"%b%b\0" % (SCOPE, run_id.encode())


def scope_key(run_id: str, scope: str) -> bytes:
    """Return the key of one open fan-out of a run."""
    return scope_prefix(run_id) + scope.encode()


def item_prefix(run_id: str, scope: str = "") -> bytes:
    """Return the first part of the keys of what is not done of a fan-out; empty: of all."""
    return b"%b%b\0%b" % (ITEM, run_id.encode(), scope.encode() + b"\0" if scope else b"")


def item_key(run_id: str, scope: str, event_id: str, step: str) -> bytes:
    """Return the key of one step that is to be done with an event of a fan-out."""
    return b"%b%b\0%b" % (item_prefix(run_id, scope), event_id.encode(), step.encode())


def member_prefix(run_id: str, batch: str = "", step: str = "") -> bytes:
    """Return the first part of the keys of the events that a join has; empty: of all joins."""
    inner = b"%b\0%b\0" % (batch.encode(), step.encode()) if batch else b""
    return b"%b%b\0%b" % (MEMBER, run_id.encode(), inner)


def head_key(run_id: str, buffer: str = "") -> bytes:
    """Return the key of what tells how much a buffer has; without one, the prefix of all."""
    return b"%b%b\0%b" % (BUFFER_HEAD, run_id.encode(), buffer.encode())


def buffered_prefix(run_id: str, buffer: str = "") -> bytes:
    """Return the first part of the keys of the events in a buffer; empty: in all of a run."""
    return b"%b%b\0%b" % (BUFFERED, run_id.encode(), buffer.encode() + b"\0" if buffer else b"")


def edits_prefix(run_id: str) -> bytes:
    """Return the first part of the keys of a run's edits of the context."""
    return b"%b%b\0" % (EDIT, run_id.encode())


def edit_key(run_id: str, event_id: str, step: str, number: int) -> bytes:
    """Return the key of the *number*-th edit of the context by a step for its event."""
    return b"%b%b\0%b\0%d" % (edits_prefix(run_id), event_id.encode(), step.encode(), number)


def calls_prefix(run_id: str) -> bytes:
    """Return the first part of the keys of a run's recorded calls."""
    return b"%b%b\0" % (CALL, run_id.encode())


def call_key(run_id: str, event_id: str, step: str, call: str) -> bytes:
    """Return the key of what a call gave; *event_id* and *step* are empty if all steps share it."""
    inner = (event_id.encode(), step.encode(), call.encode())
    return calls_prefix(run_id) + b"\0".join(inner)


def is_set_aside(key: bytes) -> bool:
    """Tell whether *key* is that of an answer that its step has refused."""
    return (
        key.startswith(CALL)
        and key.count(b"\0") >= _CALL_PARTS
        and (key.split(b"\0", _CALL_PARTS)[_CALL_PARTS].startswith(SET_ASIDE.encode() + b" "))
    )


class View(Protocol):
    """State that can be read."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of *key*, or None."""
        ...

    def items(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries whose keys begin with *prefix*, in the order of their keys."""
        ...


class Overlay:
    """Changes over a view: reads see them, and the view below stays as it is.

    Most attempts change little, so a few changes are not sorted; more are. See `LargeOverlay`.
    """

    def __init__(self, below: View) -> None:
        self.below = below
        #: New values by key; None deletes.
        self.changes: MutableMapping[bytes, bytes | None] = {}
        #: Bytes that were written, values that were replaced later included.
        self.written = 0

    def get(self, key: bytes) -> bytes | None:
        """Return the changed value if there is one, else the one below."""
        if key in self.changes:
            changed: bytes | None = self.changes[key]
            return changed
        return self.below.get(key)

    def items(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries with the changes."""
        changed = list(self._changed(prefix))
        if not changed:
            yield from self.below.items(prefix)
            return
        merged: dict[bytes, bytes | None] = dict(self.below.items(prefix))
        for key in changed:
            merged[key] = self.changes[key]
        for key in sorted(merged):
            value = merged[key]
            if value is not None:
                yield key, value

    def put(self, key: bytes, value: bytes) -> None:
        """Set *key* to *value*."""
        self.changes[key] = value
        self.written += _ENTRY_BYTES + len(value)

    def delete(self, key: bytes) -> None:
        """Remove *key*."""
        self.changes[key] = None
        self.written += _ENTRY_BYTES

    def discard(self, key: bytes) -> None:
        """Remove *key* if it is there: else no change is written."""
        if self.get(key) is not None:
            self.delete(key)

    def delete_all(self, prefix: bytes) -> None:
        """Remove every key that begins with *prefix*."""
        for key, _ in list(self.items(prefix)):
            self.delete(key)

    def _changed(self, prefix: bytes) -> Iterable[bytes]:
        if isinstance(self.changes, SortedDict):
            found: Iterable[bytes] = self.changes.irange(prefix, prefix + b"\xff")
            return found
        if len(self.changes) > FEW_CHANGES:
            # Later reads look under a prefix alone, however many changes there are.
            self.changes = SortedDict(self.changes)
            return self._changed(prefix)
        return [key for key in self.changes if key.startswith(prefix)]


class LargeOverlay(Overlay):
    """An overlay that is sorted from its first change on, for thousands of changes."""

    def __init__(self, below: View) -> None:
        super().__init__(below)
        self.changes: SortedDict[bytes, bytes | None] = SortedDict()


class MemoryState:
    """State in a dictionary: for runs in memory and for tests."""

    def __init__(self) -> None:
        self._values: SortedDict[bytes, bytes] = SortedDict()

    def get(self, key: bytes) -> bytes | None:
        """Return the value of *key*, or None."""
        value: bytes | None = self._values.get(key)
        return value

    def items(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries whose keys begin with *prefix*, in the order of their keys."""
        for key in self._values.irange(prefix, prefix + b"\xff"):
            yield key, self._values[key]

    def following(self, prefix: bytes, after: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries under *prefix* whose keys are greater than *after*."""
        for key in self._values.irange(after, prefix + b"\xff", (False, True)):
            yield key, self._values[key]

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Apply a commit's changes."""
        for key, value in changes.items():
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = value

    def __len__(self) -> int:
        return len(self._values)
