"""
Steps that end their process: found, counted, and set aside.

A step that calls `os._exit`, or takes all memory, ends every worker that runs it. So a task leaves
a mark while it runs, and removes it when it stops as it should. Where a mark of another process is
found, that process died, and each event that it may have had in flight is *counted* before it is
run again: the count is committed first, and goes with the result. A step that was counted and whose
worker died again is a suspect, and has few others beside it; the last time it runs when nothing
runs that was ever counted. A step with FLEET_CRASH_LIMIT such deaths is not run any more: its run
fails.

Without a death none of this costs anything.
"""

import math
import secrets
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from fleet.engine.admission.commit_waits import CommitWaits
from fleet.engine.admission.places import Places
from fleet.records import state
from fleet.workflow.errors import WorkflowRuntimeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleet.engine.ledger import Ledger
    from fleet.engine.transitions.draft import Work

#: Ends the mark of a process that found one of a process that died.
_AFTER_DEATH = b" after a death"


class CrashesWorker(WorkflowRuntimeError):
    """Raised for a step that is not run again: its worker died each time.

    What to do: Look in the step for what ends a process: `os._exit`, too much memory, native code.
    Then resume the run with `fleet dead redrive`.
    """

    def __init__(self, step: str, deaths: int) -> None:
        self.deaths = deaths
        super().__init__(
            f"step {step} crashes its worker: the process died {deaths} times while it ran; look "
            "for what ends a process (os._exit, memory, a crash in native code), then "
            "`fleet dead redrive`"
        )


@dataclass(frozen=True)
class Quarantine:
    """What the tasks of one worker share."""

    #: Deaths after which a step is not run again; 0: it is always run again.
    limit: int = 0
    #: Of this process and no other.
    process: bytes = field(default_factory=lambda: secrets.token_hex(8).encode())
    places: Places = field(default_factory=Places)


class Suspects:
    """The steps of one task that may have ended a process."""

    def __init__(
        self, quarantine: Quarantine, ledger: "Ledger", commit: "Callable[[], object]"
    ) -> None:
        self.quarantine = quarantine
        self._ledger = ledger
        self._commit = commit
        self._waits = CommitWaits(commit)
        #: Deaths with each counted step, by its run and its entry's key.
        self._deaths: dict[str, dict[bytes, int]] = {}
        #: Broker time; what was appended until then may have been in flight when a process died.
        self._until_ms = -1.0
        self._predecessor_died = False
        #: A process has died since one stopped as it should.
        self._after_death = False
        #: Our own mark is decided, in the commit that is under way, and in the log; always, if
        #: none is needed.
        self._leaves_mark = self._sealed_mark = self._marked = not quarantine.limit

    # -- the mark -----------------------------------------------------------------------------

    def restore(self) -> None:
        """Look in the loaded state for the mark of a process that died, and for what it counted."""
        if not self.quarantine.limit:
            return
        process, _, after_death = (self._ledger.get(state.RUNNING) or b"").partition(b" ")
        # It may be of this process, whose log was lost: then no process died. But what was suspect
        # when it began still is, and may not have been counted yet.
        self._predecessor_died = process not in (b"", self.quarantine.process)
        self._after_death = self._predecessor_died or bool(after_death)
        for key, value in list(self._ledger.items(state.SUSPECT)):
            deaths, running, *_ = map(int, value.split())
            deaths += running if self._predecessor_died else 0
            if not deaths:
                self._ledger.open.state.delete(key)
                continue
            self._deaths.setdefault(_run_of(key), {})[key] = deaths
            # It does not run now, and who dies next did not die with it.
            self._ledger.open.state.put(key, b"%d 0" % deaths)

    def begin(self) -> None:
        """Leave our own mark; what was appended until now may have been in flight before.

        What time it is now the commit of the mark tells.
        """
        if self._after_death:
            self._until_ms = math.inf
        self.mark()

    def mark(self) -> None:
        """Leave our mark, in the next commit."""
        if self.quarantine.limit:
            mark = self.quarantine.process + (_AFTER_DEATH if self._after_death else b"")
            self._ledger.open.state.put(state.RUNNING, mark)
            self._leaves_mark = True
            self._commit()

    def unmark(self) -> None:
        """Remove the mark: the next owner then knows that this process did not die.

        Until it is left again no step begins.
        """
        if self.quarantine.limit:
            self._ledger.open.state.delete(state.RUNNING)
            self._leaves_mark = self._marked = False

    # -- steps --------------------------------------------------------------------------------

    def permit(self, work: "Work") -> AbstractAsyncContextManager[None] | None:
        """Return what a step waits for and holds while it runs; None if that is nothing."""
        if self._marked and not self.is_counted(work):
            return None
        return _Permit(self, work)

    def is_counted(self, work: "Work") -> bool:
        """Tell whether a step may have ended a process."""
        return work.record.appended_ms <= self._until_ms or (
            bool(self._deaths) and self.deaths(work) > 0
        )

    def deaths(self, work: "Work") -> int:
        """Return how often a process died while this step was counted."""
        return self._deaths.get(work.envelope.run_id, {}).get(_key(work), 0)

    async def counted(self, work: "Work") -> None:
        """Return when it is in the log that a step begins once more."""
        if self.is_counted(work):
            key, deaths = _key(work), self.deaths(work)
            self._deaths.setdefault(work.envelope.run_id, {})[key] = deaths
            self._ledger.open.state.put(key, b"%d 1" % deaths)
        elif self._leaves_mark:
            # The commit with the mark may be under way; after an empty one no waiter would wake up.
            self.mark()
        await self._waits.add()
        while not self._marked:
            await self._waits.add()

    def done(self, work: "Work") -> None:
        """Forget a step that ended, or will not be run."""
        if not self._deaths:
            return
        run_id, key = work.envelope.run_id, _key(work)
        known = self._deaths.get(run_id, {})
        if known.pop(key, None) is not None:
            self._ledger.open.state.delete(key)
        if not known:
            self._deaths.pop(run_id, None)

    def ended(self, run_id: str) -> None:
        """Forget the steps of a run that ended."""
        for key in self._deaths.pop(run_id, ()):
            self._ledger.open.state.delete(key)

    # -- commits ------------------------------------------------------------------------------

    def sealed(self) -> None:
        """Note that what was decided until now is being committed."""
        self._waits.sealed()
        self._sealed_mark = self._leaves_mark

    def committed(self, now_ms: float) -> None:
        """Note that it is in the log, by *now_ms* in broker time."""
        self._until_ms = min(self._until_ms, now_ms)
        self._marked = self._sealed_mark and self._leaves_mark
        self._waits.committed()


class _Permit(AbstractAsyncContextManager[None]):
    """Of one attempt: counts it, and holds its place among the suspects."""

    def __init__(self, suspects: Suspects, work: "Work") -> None:
        self._suspects = suspects
        self._work = work
        #: Gives its place back, where it has one.
        self._give_back: Callable[[], None] | None = None

    async def __aenter__(self) -> None:
        quarantine = self._suspects.quarantine
        deaths = self._suspects.deaths(self._work)
        if deaths >= quarantine.limit:
            raise CrashesWorker(self._work.step.name, deaths)
        if self._suspects.is_counted(self._work):
            await self._take_place(deaths)
        try:
            await self._suspects.counted(self._work)
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    async def _take_place(self, deaths: int) -> None:
        places, few = self._suspects.quarantine.places, deaths > 0
        if few and deaths + 1 >= self._suspects.quarantine.limit:
            await places.be_alone()
            self._give_back = places.let_others
        else:
            await places.join(few=few)
            self._give_back = partial(places.leave, few=few)

    def _leave(self) -> None:
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()


def _key(work: "Work") -> bytes:
    envelope = work.envelope
    return state.suspect_key(envelope.run_id, envelope.event_id, work.step.name)


def _run_of(key: bytes) -> str:
    return key[len(state.SUSPECT) :].split(b"\0")[0].decode()
