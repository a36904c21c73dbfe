"""Print runs: as rows, and one of them whole."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from fleet.cli.shared import counts
from fleet.cli.views import steps
from fleet.control import times
from fleet.control.runs.log import RUNNING, End, Request, Run
from fleet.control.runs.topic import RunDetails
from fleet.control.runs.tree import Node, Tree

#: Characters of a reason that a row has room for.
_ROOM = 90
#: Dead letters of a run that are listed.
_LETTERS = 20


def row(run: Run) -> dict[str, object]:
    """Return a run as a line of a table."""
    end = run.end
    return {
        "run": run.id,
        "outcome": run.outcome,
        "epoch": run.epoch or None,
        "started": _moment(run.started_at),
        "ended": _moment(end.at) if end else None,
        "seconds": _seconds(run),
        "why": short(end.why) if end else None,
    }


def fields(run: Run) -> dict[str, Any]:
    """Return a run as JSON has it; times are unix seconds."""
    end = run.end
    return {
        "run": run.id,
        "partition": run.partition,
        "outcome": run.outcome,
        "epoch": run.epoch,
        "started": run.started_at,
        "ended": end.at if end else None,
        "timeout_seconds": run.timeout_seconds,
        "repeated_starts": run.repeats,
        "parent": f"{run.parent_workflow} {run.parent_run}" if run.parent_run else "",
        "end": _end_fields(end) if end else None,
    }


def counted(found: Iterable[Run]) -> str:
    """Say how many runs there are of each outcome."""
    outcomes = Counter(run.outcome for run in found)
    total = outcomes.total()
    parts = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.most_common())
    return f"{total:,} run{'' if total == 1 else 's'}{f': {parts}' if parts else ''}"


def tree_fields(tree: Tree) -> dict[str, Any]:
    """Return what is around a run and in it as JSON has it."""
    return {
        "parents": [_node_fields(node) for node in tree.parents],
        "children": [_node_fields(node) for node in tree.root.children],
    }


def tree_rows(tree: Tree) -> list[dict[str, object]]:
    """Return what is around a run and in it as lines of a table, the outermost first."""
    rows = [_node_row(node, depth) for depth, node in enumerate(tree.parents)]
    return rows + list(_rows_below(tree.root, len(tree.parents)))


def _rows_below(node: Node, depth: int) -> Iterator[dict[str, object]]:
    yield _node_row(node, depth)
    for child in node.children:
        yield from _rows_below(child, depth + 1)


def _node_row(node: Node, depth: int) -> dict[str, object]:
    run, branch = node.run, f"{'  ' * (depth - 1)}└ " if depth else ""
    return {
        "run": f"{branch}{node.run_id}",
        "workflow": node.workflow,
        "outcome": node.outcome,
        "started": _moment(run.started_at) if run else None,
        "seconds": _seconds(run) if run else None,
        "why": short(run.end.why) if run and run.end else None,
    }


def _node_fields(node: Node) -> dict[str, Any]:
    run = node.run
    return {
        "workflow": node.workflow,
        "run": node.run_id,
        "outcome": node.outcome,
        "started": run.started_at if run else None,
        "ended": run.end.at if run and run.end else None,
        "children": [_node_fields(child) for child in node.children],
    }


def details_fields(details: RunDetails) -> dict[str, Any]:
    """Return everything about one run as JSON has it."""
    run = details.run
    shown = fields(run) | {
        "ends": [_end_fields(end) for end in run.ends],
        "resumptions": [_request_fields(request) for request in _requests(run)],
        "steps": [{"epoch": step.epoch, **step.record.model_dump()} for step in details.steps],
        "dead_letters": [
            {
                "letter": letter.id,
                "at": letter.at,
                "reason": letter.note.reason,
                "step": letter.note.step,
                "error": letter.error,
                "message": letter.note.failure.message,
            }
            for letter in details.letters
        ],
    }
    if details.values:
        shown["values"] = [
            {name: getattr(value, name) for name in value.__slots__} for value in details.values
        ]
    return shown


def details_rows(details: RunDetails, *, every: bool = False) -> dict[str, list[dict[str, object]]]:
    """Return everything about one run as tables, by heading.

    Many attempts of one step are one row, and many dead letters are cut, unless *every* is set.
    """
    letters = details.letters if every else details.letters[:_LETTERS]
    return {
        "Life": list(_life(details.run)),
        "Steps": steps.rows(steps.lines(details.steps, every=every)),
        "Dead letters": [
            {
                "letter": letter.id,
                "at": times.shown(letter.at),
                "reason": letter.note.reason,
                "step": letter.note.step,
                "error": short(f"{letter.error}: {letter.note.failure.message}"),
            }
            for letter in letters
        ],
        "Values": [
            {"at": times.shown(value.at), "type": value.type, "value": value.value}
            for value in details.values
        ],
    }


def left_out(details: RunDetails) -> str:
    """Say what `details_rows` does not list one by one; empty if it lists all."""
    attempts = len(details.steps) - len(steps.lines(details.steps, every=False))
    letters = len(details.letters) - _LETTERS
    parts = ["many attempts of one step are one line"] if attempts else []
    parts += [f"{counts.letters(letters)} left out"] if letters > 0 else []
    told = ", ".join(parts)
    return f"{told[:1].upper()}{told[1:]}; --all lists each." if told else ""


def short(text: str) -> str:
    """Return a text as one line that fits into a table."""
    line = " ".join(text.split())
    return line if len(line) <= _ROOM else f"{line[: _ROOM - 1]}…"


def _life(run: Run) -> Iterator[dict[str, object]]:
    happened: list[tuple[float, int, int, str, str]] = []
    if run.started_at is not None:
        limit = run.timeout_seconds
        why = f"may take {limit:g} s" if limit is not None else "no time limit"
        happened.append((run.started_at, 0, 0, "started", why))
    happened.extend((end.at, 1, end.epoch, end.outcome, end.why) for end in run.ends)
    happened.extend((request.at, 2, request.epoch, *_asked(request)) for request in _requests(run))
    for at, _, epoch, what, why in sorted(happened):
        yield {"at": times.shown(at), "epoch": epoch, "what": what, "why": short(why)}
    if run.outcome == RUNNING:
        yield {"at": "", "epoch": run.epoch, "what": RUNNING, "why": ""}


def _asked(request: Request) -> tuple[str, str]:
    if request.refused is None:
        return "asked to resume", "no worker has answered yet"
    if request.refused:
        return "not resumed", request.refused
    return "resumed", request.reason


def _requests(run: Run) -> list[Request]:
    return sorted(run.requests.values(), key=lambda request: request.at)


def _request_fields(request: Request) -> dict[str, Any]:
    return {
        "request": request.id,
        "epoch": request.epoch,
        "at": request.at,
        "reason": request.reason,
        "answered": request.refused is not None,
        "refused": request.refused or "",
    }


def _end_fields(end: End) -> dict[str, Any]:
    failure = end.failure
    return {
        "outcome": end.outcome,
        "epoch": end.epoch,
        "at": end.at,
        "offset": end.offset,
        "step": end.step,
        "attempt": end.attempt,
        "error": failure.type if failure else "",
        "message": failure.message if failure else "",
        "reason": end.reason,
        "waiting": list(end.waiting),
        "result_type": end.result_type,
    }


def _seconds(run: Run) -> str | None:
    end = run.end
    if end is None or run.started_at is None:
        return None
    return f"{end.at - run.started_at:.1f}"


def _moment(at: float | None) -> str | None:
    return times.shown(at) if at is not None else None
