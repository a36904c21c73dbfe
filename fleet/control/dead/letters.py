"""
Dead letters: what they say, their status now, and the runs that can be resumed for them.

Pure. A letter says what failed. The records of its run say whether that still matters.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from fleet.control import syntax
from fleet.control.runs.log import RUNNING, Run, RunLog
from fleet.records import envelope as envelopes
from fleet.records.dead_letter import HEADER, DeadLetter
from fleet.records.envelope import BrokenEnvelope
from fleet.records.errors import ExitCode, FleetError
from fleet.records.lifecycle import Completed
from fleet.records.log import Delivered

_DAY_SECONDS = 86_400


class NoLetterId(FleetError):
    """Raised when a text is not the id of a dead letter.

    What to do: Write `PARTITION:OFFSET`, such as `3:17`, as `fleet dead list` shows it.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text!r} is not the id of a dead letter; write PARTITION:OFFSET, such as 3:17, as "
            "`fleet dead list` shows it"
        )


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter without the original's value and the stack: there may be very many letters."""

    #: In the dead-letter topic.
    partition: int
    offset: int
    #: Append time, in unix seconds.
    at: float
    #: Empty if the original does not say it.
    run_id: str
    event_id: str
    event_type: str
    #: The record's own part, beside the original.
    note: DeadLetter

    @property
    def id(self) -> str:
        """Its id on the command line."""
        return f"{self.partition}:{self.offset}"

    @property
    def error(self) -> str:
        """The exception's class."""
        return self.note.failure.type

    @property
    def kind(self) -> tuple[str, str, str]:
        """The key to group it by: reason, step, error."""
        return self.note.reason, self.note.step, self.error


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters a command takes; a field that is not set takes all."""

    reason: str | None = None
    step: str | None = None
    #: A class's name, with or without its module.
    error: str | None = None
    run_id: str | None = None
    since: datetime | None = None
    ids: tuple[tuple[int, int], ...] = ()

    @property
    def takes_all(self) -> bool:
        """Whether nothing is set."""
        return self == Filter()

    def takes(self, letter: Letter) -> bool:
        """Tell whether it takes a letter."""
        note, failure = letter.note, letter.note.failure
        return (
            self.reason in (None, note.reason)
            and self.step in (None, note.step)
            and self.error in (None, failure.type, f"{failure.module}.{failure.type}")
            and self.run_id in (None, letter.run_id)
            and (self.since is None or letter.at >= self.since.timestamp())
            and (not self.ids or (letter.partition, letter.offset) in self.ids)
        )


@dataclass(frozen=True, slots=True)
class LetterStatus:
    """A letter, and what became of its run."""

    letter: Letter
    #: None if the letter has no run, or no record of the run is left.
    run: Run | None
    #: The run was resumed after the letter.
    redriven: bool
    #: Why its run cannot be resumed for it, in a sentence; empty if it can.
    refusal: str

    @property
    def done(self) -> bool:
        """Whether nothing is left to do: its run is running or has a result."""
        return self.run is not None and self.run.outcome in (RUNNING, Completed.kind)

    @property
    def status(self) -> str:
        """The status of its run, in a few words."""
        if self.run is None:
            return "unknown run" if self.letter.run_id else "no run"
        return f"{'redriven, ' if self.redriven else ''}{self.run.outcome}"


@dataclass(slots=True)
class Group:
    """Letters of one reason, step and error."""

    letters: int = 0
    run_ids: set[str] = field(default_factory=set)
    redriven: int = 0
    #: Letters whose runs have completed.
    completed: int = 0
    #: Letters whose runs can be resumed for them.
    open: int = 0


@dataclass(frozen=True, slots=True)
class ResumeRequest:
    """A run that is to be resumed."""

    run_id: str
    partition: int
    #: The one after that of its end.
    epoch: int
    #: The letters that it is resumed for.
    letters: tuple[Letter, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Letters that cannot be redriven for one reason."""

    why: str
    letters: tuple[Letter, ...]
    #: Nothing is left to do for them.
    done: bool


def parse(record: Delivered) -> Letter | None:
    """Read a record of a dead-letter topic; None if Fleet has not written it."""
    headers = [header for header in record.headers if header[0] != HEADER]
    try:
        note = DeadLetter.model_validate_json(dict(record.headers)[HEADER])
    except (KeyError, ValidationError):
        return None
    short = note.failure.model_copy(update={"stack": "", "args": ()})
    run_id = event_id = event_type = ""
    try:
        envelope = envelopes.parse(headers)
    except BrokenEnvelope:
        pass
    else:
        run_id, event_id, event_type = envelope.run_id, envelope.event_id, envelope.type
    return Letter(
        partition=record.partition,
        offset=record.offset,
        at=record.appended_ms / 1000,
        run_id=run_id,
        event_id=event_id,
        event_type=event_type,
        note=note.model_copy(update={"failure": short}),
    )


def place(text: str) -> tuple[int, int]:
    """Read PARTITION:OFFSET; raise NoLetterId."""
    match syntax.place(text):
        case (int(partition), offset):
            return partition, offset
    raise NoLetterId(text)


def statuses(
    letters: Iterable[Letter], log: RunLog, now: float, keep_days: float
) -> list[LetterStatus]:
    """Return the status of *letters* at *now*, unix seconds.

    They are all letters of their runs. *keep_days*: how long a group keeps the state of a run after
    its end.
    """
    letters = list(letters)
    newest: dict[str, float] = {}
    for letter in letters:
        newest[letter.run_id] = max(letter.at, newest.get(letter.run_id, 0.0))
    found = []
    for letter in letters:
        run = log.get(letter.run_id) if letter.run_id else None
        redriven = run is not None and run.went_on_since(letter.at)
        newer = run is not None and redriven and not run.went_on_since(newest[letter.run_id])
        refusal = _refusal(letter, run, now - keep_days * _DAY_SECONDS, newer=newer)
        found.append(LetterStatus(letter, run, redriven, refusal))
    return found


def groups(found: Iterable[LetterStatus]) -> dict[tuple[str, str, str], Group]:
    """Count by reason, step and error, the most frequent first."""
    counted: dict[tuple[str, str, str], Group] = {}
    for status in found:
        group = counted.setdefault(status.letter.kind, Group())
        group.letters += 1
        group.run_ids |= {status.letter.run_id} - {""}
        group.redriven += status.redriven
        group.completed += status.run is not None and status.run.outcome == Completed.kind
        group.open += not status.refusal
    return dict(sorted(counted.items(), key=lambda item: (-item[1].letters, item[0])))


def requests(found: Iterable[LetterStatus], limit: int | None = None) -> list[ResumeRequest]:
    """Return the runs to resume, that of the oldest letter first, at most *limit*."""
    by_run: dict[str, list[LetterStatus]] = {}
    for status in sorted(found, key=lambda status: status.letter.at):
        if not status.refusal:
            by_run.setdefault(status.letter.run_id, []).append(status)
    made = [_request(several) for several in by_run.values()]
    return made if limit is None else made[:limit]


def under_way(found: Iterable[LetterStatus]) -> list[ResumeRequest]:
    """Return the runs that were resumed since their letters and are running, in their epochs."""
    runs = {
        status.run.id: status.run
        for status in found
        if status.run is not None and status.redriven and status.run.outcome == RUNNING
    }
    return [ResumeRequest(run.id, run.partition, run.epoch, ()) for run in runs.values()]


def refused(found: Iterable[LetterStatus]) -> list[Refused]:
    """Return the letters that cannot be redriven, by reason, the most frequent first."""
    by_why: dict[str, list[LetterStatus]] = {}
    for status in found:
        if status.refusal:
            by_why.setdefault(status.refusal, []).append(status)
    made = [
        Refused(why, tuple(one.letter for one in several), all(one.done for one in several))
        for why, several in by_why.items()
    ]
    return sorted(made, key=lambda refused: -len(refused.letters))


def run_ids(letters: Iterable[Letter]) -> Iterator[str]:
    """Yield the runs that letters belong to, without repetitions."""
    yield from dict.fromkeys(letter.run_id for letter in letters if letter.run_id)


def _request(several: list[LetterStatus]) -> ResumeRequest:
    run = several[0].run
    assert run is not None, "a letter without a run is refused"
    letters = tuple(status.letter for status in several)
    return ResumeRequest(run.id, run.partition, run.epoch + 1, letters)


def _refusal(letter: Letter, run: Run | None, forgotten_before: float, *, newer: bool) -> str:
    if not letter.run_id:
        return f"it names no run ({letter.note.reason})"
    if run is None:
        return "no record of its run is left in the runs topic"
    if newer:
        return "its run was redriven since then and has a newer dead letter"
    return _refusal_of(run, forgotten_before)


def _refusal_of(run: Run, forgotten_before: float) -> str:
    end = run.end
    if end is None:
        return "its run is running"
    if end.outcome == Completed.kind:
        return "its run has completed"
    if run.started_at is None:
        return "its run ended before it began"
    if end.at < forgotten_before:
        return "its run ended more than FLEET_RESUME_DAYS ago, and its state is gone"
    return ""
