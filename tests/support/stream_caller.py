"""
A process that reads streams of TokenFlow and notes each event with its cursor, as it comes.

    python stream_caller.py FILE TOKENS PAUSE_SECONDS FIRST LAST

It has the runs FIRST to LAST, without LAST. Killed and started again, it continues behind the last
event of each run that the file has.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from token_flow import Ask, Token, TokenFlow

from fleet import Event, connect


def noted(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what a file has, by run; a line that was cut off by a kill is no line."""
    found: dict[str, list[dict[str, Any]]] = {}
    text = path.read_text() if path.exists() else ""
    for line in text[: text.rfind("\n") + 1].splitlines():
        note = json.loads(line)
        found.setdefault(note["run"], []).append(note)
    return found


def note(run_id: str, event: Event, cursor: str | None) -> bytes:
    """Return the line of an event."""
    line: dict[str, Any] = {"run": run_id, "kind": type(event).__name__, "cursor": cursor}
    if isinstance(event, Token):
        line |= {"attempt": event.attempt, "number": event.number}
        line["seconds"] = round(time.time() - event.at, 4)
    return json.dumps(line).encode() + b"\n"


async def main(path: Path, ask: Ask, run_ids: list[str]) -> None:
    """Read every stream to its end."""
    before = noted(path)
    text = path.read_bytes() if path.exists() else b""
    with path.open("r+b" if text else "wb", buffering=0) as file:
        file.truncate(text.rfind(b"\n") + 1)
        file.seek(0, 2)
        async with connect(TokenFlow, timeout=None) as flow:

            async def read(run_id: str) -> None:
                notes = before.get(run_id, [])
                if notes and notes[-1]["kind"] == "Told":
                    return
                # Who has no cursor may have been killed before the start was in the log.
                handler = flow.handler(run_id) if notes else flow.run(ask, run_id=run_id)
                events = handler.stream_events(after=notes[-1]["cursor"] if notes else None)
                async for event in events:
                    file.write(note(run_id, event, events.cursor))
                await handler

            await asyncio.gather(*map(read, run_ids))


if __name__ == "__main__":
    file, tokens, pause, first, last = sys.argv[1:]
    asked = Ask(tokens=int(tokens), pause_seconds=float(pause))
    asyncio.run(main(Path(file), asked, [f"run{n}" for n in range(int(first), int(last))]))
