"""
What is forgotten of a task's runs, and when.

A run that ended leaves an entry, so that a repeated start of it is recognised; one of which an
event came and no start leaves another. Both are forgotten when their time is over, in the order of
that time (`ends_index`), so a look costs what is due and not what is kept.

None is forgotten before every input was read past the moment at which its entry was seen in the
committed state. All that the run's steps had sent was in the log by then, so nothing of it comes
any more. Work of other runs is no reason to wait: it sends nothing of this one. A run
that was not started may have work of its own; it is forgotten when that is done.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from fleet.engine import ends_index
from fleet.engine.admission.gate import Gate
from fleet.engine.ends_index import Entry, Kind
from fleet.engine.parts import Parts
from fleet.engine.transitions import ends
from fleet.engine.transitions.runs import DAY_MS

#: Pause between two looks for what is due, if nothing was, in seconds.
LOOK_SECONDS = 2.0
#: Pause between two looks whether the inputs were read, in seconds.
READ_SECONDS = 1.0
#: How many entries of a kind one look takes.
LOOK_ENTRIES = 10_000
#: How many are read or forgotten in one turn of the loop, and the pause between two, in seconds:
#: others need the loop, too.
TURN_ENTRIES = 200
TURN_SECONDS = 0.02
#: Every look of this number begins with the oldest again: an end that was read late is among them.
#: The others begin behind the last one, for RocksDB steps over each key that was deleted before it.
LOOKS = 15


#: Longer than what happens between two lines of one turn of the loop, in milliseconds.
_TURN_MS = 100.0


class Settings(Protocol):
    """What the tasks of a step group are told of retention."""

    @property
    def dedupe_days(self) -> float:
        """How long the end of a run is known, in days."""
        ...

    @property
    def resume_days(self) -> float:
        """How long a run that ended without a result can be resumed, in days."""
        ...

    @property
    def most_ended(self) -> int:
        """How many ended runs of each kind are remembered, however young; 0: all of them."""
        ...

    @property
    def reads_at_once(self) -> bool:
        """Whether what is appended is delivered in the next turn of the loop."""
        ...

    @property
    def forgotten(self) -> Callable[[str], object]:
        """Is called with the id of each ended run that is forgotten."""
        ...


class Retention:
    """Forgets the runs of one task."""

    def __init__(self, parts: Parts, gate: Gate, settings: Settings) -> None:
        self._parts = parts
        self._ledger = parts.ledger
        self._clock = parts.clock
        self._gate = gate
        self._settings = settings
        #: How long entries of each kind are kept, in milliseconds.
        self._kept_ms = {
            Kind.COMPLETED: settings.dedupe_days * DAY_MS,
            Kind.AWAITING_RESUME: max(settings.dedupe_days, settings.resume_days) * DAY_MS,
            Kind.UNSTARTED: settings.dedupe_days * DAY_MS,
        }
        #: The last key that a look has taken, by kind.
        self._after: dict[Kind, bytes] = {}
        self._looks = 0

    async def run(self) -> None:
        """Forget until cancelled."""
        await ends_index.complete(self._ledger.store)
        while True:
            due = await self._due() if self._clock.known else []
            if due:
                await self._pass(self._clock.now_ms())
                await self._forget(due)
            else:
                await asyncio.sleep(LOOK_SECONDS)

    async def _due(self) -> list[Entry]:
        """Return committed entries whose time is over, of each kind the oldest first."""
        self._looks += 1
        if self._looks % LOOKS == 0:
            self._after.clear()
        due = [entry for kind in Kind for entry in await self._due_of(kind)]
        return due or [entry for kind in Kind for entry in self._surplus(kind)]

    def _surplus(self, kind: Kind) -> list[Entry]:
        """Return the oldest, where more are kept than may be."""
        most = self._settings.most_ended
        if not most or kind is Kind.UNSTARTED:
            return []
        keys = self._ledger.store.scan(kind.prefix, kind.prefix, most + LOOK_ENTRIES)
        return [Entry.decode(key) for key, _ in keys[: max(0, len(keys) - most)]]

    async def _due_of(self, kind: Kind) -> list[Entry]:
        due: list[Entry] = []
        before_ms = self._clock.now_ms() - self._kept_ms[kind]
        while len(due) < LOOK_ENTRIES:
            after = self._after.get(kind, kind.prefix)
            keys = self._ledger.store.scan(kind.prefix, after, TURN_ENTRIES)
            turn = [Entry.decode(key) for key, _ in keys]
            over = [entry for entry in turn if entry.since_ms <= before_ms]
            due += over
            if over:
                self._after[kind] = over[-1].key
            if len(over) < TURN_ENTRIES:
                break
            await asyncio.sleep(0)
        return due

    async def _pass(self, time_ms: float) -> None:
        while not self._have_passed(time_ms):  # noqa: ASYNC110 - inputs have no event for it
            await asyncio.sleep(READ_SECONDS)

    async def _forget(self, due: list[Entry]) -> None:
        for start in range(0, len(due), TURN_ENTRIES):
            while self._gate.held_back:  # noqa: ASYNC110 - a commit that hangs is no matter of ours
                await asyncio.sleep(READ_SECONDS)
            for entry in due[start : start + TURN_ENTRIES]:
                value = self._ledger.get(entry.state_key)
                # Else it was forgotten already, and the id may be in use again.
                if value is not None and Entry.of(entry.state_key, value) == entry:
                    self._forget_run(entry)
            await asyncio.sleep(TURN_SECONDS)

    def _have_passed(self, time_ms: float) -> bool:
        """Whether every record that was appended before *time_ms* was delivered."""
        if self._settings.reads_at_once:
            # The loop turns between two calls.
            return self._clock.now_ms() > time_ms + _TURN_MS
        return self._parts.inputs.have_passed(time_ms)

    def _forget_run(self, entry: Entry) -> None:
        """Remove everything that is kept of a run whose time is over."""
        draft, run_id = self._parts.draft, entry.run_id
        if entry.kind is Kind.UNSTARTED:
            if self._parts.attempts.has(run_id):
                # What its steps give would be kept for ever. A later look comes by again.
                return
            ends.forget_unstarted(draft, run_id)
        else:
            ends.forget(draft, run_id, resumable=entry.kind is Kind.AWAITING_RESUME)
            self._settings.forgotten(run_id)
        self._parts.commits.later()
