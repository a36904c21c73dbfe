"""
What is forgotten of a task's runs, and when.

A run that ended leaves an entry, so that a repeated start of it is recognised; one of which an
event came and no start leaves another. Both are forgotten when their time is over, in the order of
that time (`ends_index`), so a look costs what is due and not what is kept.

None is forgotten before every input was read past the moment at which its entry was seen in the
committed state. All that the run's steps had sent was in the log by then, so nothing of it comes
any more. Work of other runs that goes on is no reason to wait: it sends nothing of this one. A run
that was not started may have work of its own; it is forgotten when that is done.
"""

import asyncio
from typing import Protocol

from fleet.engine import ends_index
from fleet.engine.ends_index import Entry, Kind
from fleet.engine.ledger import Ledger
from fleet.engine.transitions.runs import DAY_MS

#: How often it is looked for what is due where nothing was, in seconds.
LOOK_SECONDS = 2.0
#: How often it is looked whether the inputs have been read, in seconds.
READ_SECONDS = 1.0
#: How many entries of a kind one look takes.
LOOK_ENTRIES = 10_000
#: How many are read or forgotten in one turn of the loop, and the pause between two, in seconds:
#: others have the loop, too.
TURN_ENTRIES = 200
TURN_SECONDS = 0.02
#: After so many looks one begins with the oldest again: an end that was read late is among them.
#: Others go on behind the last one, for RocksDB steps over each key that was deleted before it.
LOOKS = 15


class Owner(Protocol):
    """Whose runs they are."""

    @property
    def held_back(self) -> bool:
        """Whether a commit has to get through before more is decided."""
        ...

    def now_ms(self) -> float:
        """Return the broker's time, in unix milliseconds."""
        ...

    @property
    def knows_time(self) -> bool:
        """Whether that is more than a guess."""
        ...

    def have_passed(self, time_ms: float) -> bool:
        """Whether every record that was appended before *time_ms* was delivered."""
        ...

    def forget(self, entry: Entry) -> None:
        """Remove everything that is kept of a run."""
        ...


class Retention:
    """Forgets the runs of one task."""

    def __init__(
        self,
        ledger: Ledger,
        owner: Owner,
        dedupe_days: float,
        resume_days: float,
        most: int = 0,
    ) -> None:
        self._ledger = ledger
        self._owner = owner
        #: How long entries of each kind are kept, in milliseconds.
        self._kept_ms = {
            Kind.COMPLETED: dedupe_days * DAY_MS,
            Kind.FROZEN: max(dedupe_days, resume_days) * DAY_MS,
            Kind.UNSTARTED: dedupe_days * DAY_MS,
        }
        #: How many of each kind are kept, however young they are; 0: all of them.
        self._most = most
        #: The last key that a look has taken, by kind.
        self._after: dict[Kind, bytes] = {}
        self._looks = 0

    async def run(self) -> None:
        """Forget until cancelled."""
        await ends_index.complete(self._ledger.store)
        while True:
            due = await self._due() if self._owner.knows_time else []
            if due:
                await self._pass(self._owner.now_ms())
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
        if not self._most or kind is Kind.UNSTARTED:
            return []
        keys = self._ledger.store.scan(kind.prefix, kind.prefix, self._most + LOOK_ENTRIES)
        return [Entry.decode(key) for key, _ in keys[: max(0, len(keys) - self._most)]]

    async def _due_of(self, kind: Kind) -> list[Entry]:
        due: list[Entry] = []
        before_ms = self._owner.now_ms() - self._kept_ms[kind]
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
        while not self._owner.have_passed(time_ms):  # noqa: ASYNC110 - inputs have no event for it
            await asyncio.sleep(READ_SECONDS)

    async def _forget(self, due: list[Entry]) -> None:
        for start in range(0, len(due), TURN_ENTRIES):
            while self._owner.held_back:  # noqa: ASYNC110 - a commit that hangs is no matter of ours
                await asyncio.sleep(READ_SECONDS)
            for entry in due[start : start + TURN_ENTRIES]:
                value = self._ledger.get(entry.state_key)
                # Else it was forgotten already, and the id may be in use again.
                if value is not None and Entry.of(entry.state_key, value) == entry:
                    self._owner.forget(entry)
            await asyncio.sleep(TURN_SECONDS)
