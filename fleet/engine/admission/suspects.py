"""
Steps that end their process: found, counted, and set aside.

A step that calls `os._exit`, or takes all memory, ends every worker that runs it. So a task leaves
a mark while it runs, and removes it when it stops as it should. Where a mark of another process is
found, that process died, and each event that it may have had in flight is *counted* before it is
run again: the count is committed first, and goes with the result. Until when such events were
appended stays in the state, so that an owner that comes in order counts them, too. A step that was
counted and whose worker died again is a suspect, and has few others beside it; the last time it
runs when nothing runs that was ever counted, and others wait until what it ended with is in the
log. A step with FLEET_CRASH_LIMIT such deaths is not run any more: its run fails.

Without a death none of this costs anything.
"""

import math
import secrets
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from fleet.engine.admission import commit_waits
from fleet.engine.admission.commit_waits import CommitWaits, Waiters
from fleet.engine.admission.places import Places
from fleet.records import state
from fleet.workflow.errors import WorkflowRuntimeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleet.engine.ledger import Ledger
    from fleet.engine.transitions.draft import Work


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
    #: By partition, for the next task of it: what waits for a commit that the last one did not get.
    inherited: dict[int, Waiters] = field(default_factory=dict)

    def gone(self, partition: int) -> None:
        """Note that no task of this worker will commit for a partition."""
        commit_waits.wake(self.inherited.pop(partition, []))


class Suspects:
    """The steps of one task that may have ended a process."""

    def __init__(
        self,
        quarantine: Quarantine,
        partition: int,
        ledger: "Ledger",
        commit: "Callable[[], object]",
    ) -> None:
        self.quarantine = quarantine
        self._partition = partition
        self._ledger = ledger
        self._commit = commit
        self._waits = CommitWaits(commit)
        #: Deaths with each counted step, by its run and its entry's key.
        self._deaths: dict[str, dict[bytes, int]] = {}
        #: Broker time; what was appended until then may have been in flight when a process died.
        #: Negative if none has died; without end until a commit tells what time it is.
        self._until_ms = -1.0
        #: Our own mark is decided, in the commit that is under way, and in the log; always, if
        #: none is needed.
        self._leaves_mark = self._sealed_mark = self._marked = not quarantine.limit
        self._closed = False

    # -- the mark -----------------------------------------------------------------------------

    def restore(self) -> None:
        """Look in the loaded state for the mark of a process that died, and for what it counted."""
        if not self.quarantine.limit:
            return
        process, _, until_ms = (self._ledger.get(state.RUNNING) or b"").partition(b" ")
        # It may be of this process, whose log was lost: then no process died. But what was suspect
        # when it began still is, and may not have been counted yet. So it is after a process that
        # stopped as it should.
        died = process not in (b"", self.quarantine.process)
        self._until_ms = math.inf if died else float(until_ms or -1)
        for key, value in list(self._ledger.items(state.SUSPECT)):
            deaths, running, *_ = map(int, value.split())
            deaths += running if died else 0
            if not deaths:
                self._ledger.open.state.delete(key)
                continue
            self._deaths.setdefault(_run_of(key), {})[key] = deaths
            # It does not run now, and who dies next did not die with it.
            self._ledger.open.state.put(key, b"%d 0" % deaths)

    def mark(self) -> None:
        """Leave our mark, in the next commit."""
        if self.quarantine.limit:
            self._waits.inherit(self.quarantine.inherited.pop(self._partition, []))
            self._ledger.open.state.put(state.RUNNING, self.quarantine.process + self._suspicion())
            self._leaves_mark = True
            self._commit()

    def unmark(self) -> None:
        """Remove the mark: the next owner then knows that this process did not die.

        It learns still that one has died before, for a step of that time may not have begun since.
        Until the mark is left again no step begins.
        """
        if self.quarantine.limit:
            if suspicion := self._suspicion():
                self._ledger.open.state.put(state.RUNNING, suspicion)
            else:
                self._ledger.open.state.delete(state.RUNNING)
            self._leaves_mark = self._marked = False

    def _suspicion(self) -> bytes:
        """Return what a mark says of processes that died before."""
        return f" {self._until_ms:.0f}".encode() if self._until_ms >= 0 else b""

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

    def left(self, work: "Work", let_others: "Callable[[], object]") -> None:
        """Let others run once it is in the log that a last chance is over.

        If the process died before, the log would tell that the step ended it.
        """
        deaths = self.deaths(work)
        if not deaths or self._closed:
            # Its run has ended, or what it ends with has no effect.
            let_others()
            return
        self._ledger.open.state.put(_key(work), b"%d 0" % deaths)
        self._waits.add().add_done_callback(lambda _: let_others())

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
        if math.isinf(self._until_ms):
            self._until_ms = now_ms
        self._marked = self._sealed_mark and self._leaves_mark
        self._waits.committed()

    def close(self) -> None:
        """Let those that wait for a commit wait for one of the partition's next task here."""
        self._closed = True
        if waiters := self._waits.unmet():
            self.quarantine.inherited[self._partition] = waiters


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
            self._give_back = partial(self._suspects.left, self._work, places.let_others)
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
