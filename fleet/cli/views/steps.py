"""
Print the attempts of a run: one by one, or those of one step together if they are many.

A run with 10,000 branches has as many attempts of one step. Those that failed are listed all the
same, up to a limit.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from fleet.control import times
from fleet.control.runs.topic import Step
from fleet.records.lifecycle import MOST_SENT, RAISED, StepRecord

#: Up to this number, attempts of one kind are listed one by one.
_APART = 5
#: Of attempts of one kind that raised, this number is listed; the others are one line.
_RAISED_APART = 20

#: Attempts that one line shows.
Line = Sequence[Step]


def lines(steps: Iterable[Step], *, every: bool) -> list[Line]:
    """Put attempts together that share epoch, step, event and outcome, in order of their start.

    With *every* each is by itself.
    """
    if every:
        return [[step] for step in steps]
    kinds: dict[tuple[int, str, str, str], list[Step]] = {}
    for step in steps:
        record = step.record
        kind = (step.epoch, record.step, record.event_type, record.outcome)
        kinds.setdefault(kind, []).append(step)
    found = [line for kind in kinds.values() for line in _of_kind(kind)]
    return sorted(found, key=lambda line: line[0].record.started)


def rows(found: Sequence[Line]) -> list[dict[str, object]]:
    """Return lines as a table; one that stands for several has their number, and ranges."""
    has_several = any(len(line) > 1 for line in found)
    return [_row(line, counted=has_several) for line in found]


def _of_kind(steps: list[Step]) -> list[Line]:
    apart = len(steps) if len(steps) <= _APART else 0
    if steps[0].record.outcome == RAISED:
        apart = _RAISED_APART
    return [*([step] for step in steps[:apart]), *([steps[apart:]] if steps[apart:] else [])]


def _row(line: Line, *, counted: bool) -> dict[str, object]:
    first, records = line[0], [step.record for step in line]
    times_it_ran = {"times": f"{len(line):,}"} if counted else {}
    return {
        "started": times.shown(first.record.started),
        "epoch": first.epoch,
        "step": first.record.step,
        "event": first.record.event_type,
        **times_it_ran,
        "attempt": _range(
            [f"{attempt}" for attempt in sorted(record.attempt for record in records)]
        ),
        "outcome": first.record.outcome,
        "waited s": _seconds(max(0.0, record.started - record.queued) for record in records),
        "took s": _seconds(record.finished - record.started for record in records),
        "sent": _sent(records) or None,
    }


def _seconds(found: Iterable[float]) -> str:
    return _range([f"{seconds:.3f}" for seconds in sorted(found)])


def _range(found: Sequence[str]) -> str:
    return found[0] if found[0] == found[-1] else f"{found[0]} to {found[-1]}"


def _sent(records: Iterable[StepRecord]) -> str:
    """Return how many events of each type were sent; a record does not name more than some."""
    counted: Counter[str] = Counter()
    more = ""
    for record in records:
        counted.update(record.sent)
        more = ", and more" if len(record.sent) >= MOST_SENT else more
    named = (name if count == 1 else f"{name} ({count:,})" for name, count in counted.items())
    return ", ".join(named) + more
