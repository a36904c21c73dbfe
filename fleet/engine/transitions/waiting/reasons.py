"""What a run's suspended steps wait for, in words: a run that times out says it."""

from datetime import UTC, datetime
from itertools import islice

from fleet.engine.transitions.suspended import Suspended
from fleet.records import printable, state
from fleet.records.state import View

#: How many steps are named, and how long each text may be, in characters.
MOST = 20
_LENGTH = 200
#: Of the last year that a date may have, in unix seconds.
_LAST_SECOND = 253_402_300_799
#: Stands for the steps that are not named.
AND_MORE = "and more"


def of_run(view: View, run_id: str) -> tuple[str, ...]:
    """Return a text for each suspended step of a run: `ask: attempt 2 at 2026-11-28T12:00:00Z`."""
    found = islice(view.items(state.waiting_prefix(run_id)), MOST + 1)
    texts = [_text(Suspended.decode(value)) for _, value in found]
    return (*texts[:MOST], *([AND_MORE] if len(texts) > MOST else []))


def _text(entry: Suspended) -> str:
    text = f"{entry.step}: {_reason(entry)}"
    return printable.line(text if len(text) <= _LENGTH else f"{text[: _LENGTH - 1]}…")


def _listed(children: tuple[str, ...]) -> str:
    more = f" and {len(children) - 1} more" if len(children) > 1 else ""
    return f"{children[0]}{more}"


def _reason(entry: Suspended) -> str:
    due_seconds = min(entry.due_ms // 1000, _LAST_SECOND)
    due = datetime.fromtimestamp(due_seconds, UTC).isoformat("T", "seconds")
    moment = due.replace("+00:00", "Z")
    if entry.wait is not None:
        until = f" until {moment}" if entry.due_ms else ""
        return f"waits for {entry.wait.awaits}{until}"
    if entry.children:
        return f"awaits {_listed(entry.children)}"
    tries = entry.tries
    if tries is None:
        return f"sleeps until {moment}"
    return f"attempt {tries.earlier + tries.failed + 1} at {moment}"
