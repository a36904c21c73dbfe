"""Print what steps wait for."""

import json
from typing import Any

from fleet.cli.views.run import short
from fleet.control import times
from fleet.control.runs.waiting import Waiting


def row(waiting: Waiting) -> dict[str, object]:
    """Return a wait as a line of a table."""
    wait = waiting.wait
    required = json.dumps(wait.requirements, ensure_ascii=False) if wait.requirements else None
    asked = f"{wait.question_type} {wait.question}".strip()
    return {
        "run": waiting.run_id,
        "step": waiting.step,
        "waits for": wait.awaits,
        "required": short(required) if required else None,
        "asked": short(asked) if asked else None,
        "since": times.shown(waiting.since),
        "until": times.shown(waiting.until) if waiting.until is not None else None,
    }


def fields(waiting: Waiting) -> dict[str, Any]:
    """Return a wait as JSON has it; times are unix seconds."""
    wait = waiting.wait
    return {
        "run": waiting.run_id,
        "step": waiting.step,
        "event": waiting.event_id,
        "waiter_id": wait.id,
        "type": wait.awaits,
        "requirements": wait.requirements,
        "asked": wait.question_type or None,
        "question": json.loads(wait.question) if wait.question else None,
        "since": waiting.since,
        "until": waiting.until,
    }
