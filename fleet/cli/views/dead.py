"""Print dead letters: by kind, as rows, and one of them whole."""

from collections.abc import Iterable, Sequence
from typing import Any

from fleet.cli.shared import counts
from fleet.cli.views.run import short
from fleet.control import times
from fleet.control.dead import letters as dead_letters
from fleet.control.dead.letters import Group, LetterStatus, Refused, ResumeRequest
from fleet.records import printable
from fleet.records.dead_letter import HEADER, DeadLetter
from fleet.records.log import Delivered

#: Letters that stand for the others: enough to look one up.
_EXAMPLES = 3


def group_rows(groups: dict[tuple[str, str, str], Group]) -> list[dict[str, object]]:
    """Return a line for each kind of letter."""
    return [
        {
            "reason": reason,
            "step": step or None,
            "error": error,
            "letters": group.letters,
            "runs": len(group.run_ids),
            "redriven": group.redriven,
            "completed": group.completed,
            "redrivable": group.open,
        }
        for (reason, step, error), group in groups.items()
    ]


def row(status: LetterStatus) -> dict[str, object]:
    """Return a letter as a line of a table."""
    letter = status.letter
    return {
        "letter": letter.id,
        "at": times.shown(letter.at),
        "reason": letter.note.reason,
        "step": letter.note.step or None,
        "error": short(f"{letter.error}: {letter.note.failure.message}"),
        "run": letter.run_id or None,
        "now": status.status,
    }


def fields(status: LetterStatus) -> dict[str, Any]:
    """Return a letter as JSON has it; times are unix seconds."""
    letter, note = status.letter, status.letter.note
    return {
        "letter": letter.id,
        "at": letter.at,
        "reason": note.reason,
        "step": note.step,
        "attempts": note.attempts,
        "error": letter.error,
        "message": note.failure.message,
        "run": letter.run_id or None,
        "event_id": letter.event_id,
        "event_type": letter.event_type,
        **_place(note),
        "joined": note.joined,
        "run_outcome": status.run.outcome if status.run else None,
        "redriven": status.redriven,
        "not_redrivable_because": status.refusal,
    }


def whole(record: Delivered, *, with_value: bool) -> dict[str, Any]:
    """Return one letter with its stack and headers; *with_value* adds the original's value."""
    letter = dead_letters.parse(record)
    assert letter is not None, "only a letter is shown"
    note = DeadLetter.model_validate_json(dict(record.headers)[HEADER])
    value = (record.value or b"").decode(errors="replace")
    shown: dict[str, Any] = {
        "letter": letter.id,
        "at": letter.at,
        "reason": note.reason,
        "step": note.step,
        "attempts": note.attempts,
        "run": letter.run_id or None,
        "event_id": letter.event_id,
        "event_type": letter.event_type,
        "origin": _origin(note),
        "joined": note.joined,
        "error": f"{note.failure.module}.{note.failure.type}",
        "message": note.failure.message,
        "headers": {
            name: (text or b"").decode(errors="replace")
            for name, text in record.headers
            if name != HEADER
        },
        "value_bytes": len(record.value or b""),
        "stack": note.failure.stack,
    }
    return shown | {"value": value} if with_value else shown


def text(shown: dict[str, Any]) -> str:
    """Return a whole letter as people read it."""
    long = {name: shown[name] for name in ("stack", "value") if shown.get(name)}
    # The origin tells how many events were joined.
    apart = ("stack", "value", "joined")
    lines = {name: value for name, value in shown.items() if name not in apart}
    lines["at"] = times.shown(lines["at"])
    lines["headers"] = ", ".join(f"{name}={value}" for name, value in lines["headers"].items())
    width = max(map(len, lines))
    told = {name: "" if value is None else value for name, value in lines.items()}
    parts = [f"{name.ljust(width)}  {printable.line(value)}" for name, value in told.items()]
    parts += [f"\n{name}:\n{value.rstrip()}" for name, value in long.items()]
    return "\n".join(part.rstrip() for part in parts)


def _place(note: DeadLetter) -> dict[str, Any]:
    """Return where the original is; a join has no record in a topic."""
    if note.joined is not None:
        return {"topic": None, "partition": None, "offset": None}
    return {"topic": note.topic, "partition": note.partition, "offset": note.offset}


def _origin(note: DeadLetter) -> str:
    if note.joined is not None:
        return f"a join of {counts.events(note.joined)}"
    return f"{note.topic} {note.partition}:{note.offset}"


def preview_rows(requests: Sequence[ResumeRequest]) -> list[dict[str, object]]:
    """Return the letters to redrive, by kind; a run counts under each kind that it has."""
    counted: dict[tuple[str, str, str], tuple[int, set[str]]] = {}
    for request in requests:
        for letter in request.letters:
            letters, runs = counted.get(letter.kind, (0, set()))
            counted[letter.kind] = (letters + 1, runs | {request.run_id})
    return [
        {"reason": kind[0], "step": kind[1], "error": kind[2], "letters": count, "runs": len(runs)}
        for kind, (count, runs) in sorted(counted.items(), key=lambda item: -item[1][0])
    ]


def refused_lines(found: Iterable[Refused]) -> list[str]:
    """Say what cannot be redriven and why."""
    return [
        f"Not redriven: {counts.letters(len(refusal.letters))} ({_examples(refusal)}): "
        f"{refusal.why}."
        for refusal in found
    ]


def _examples(refusal: Refused) -> str:
    more = "…" if len(refusal.letters) > _EXAMPLES else ""
    return ", ".join(letter.id for letter in refusal.letters[:_EXAMPLES]) + more
