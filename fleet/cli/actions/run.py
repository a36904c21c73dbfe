"""What `fleet run` does: make one run, show its stream, print its result."""

import shlex
from collections.abc import Iterable

from pydantic_core import to_json

from fleet.cli.shared import loop, terminal
from fleet.control import calls, event_fields, workflows
from fleet.control.calls import Call
from fleet.records import printable
from fleet.records.events import Event, type_name


def call(workflow: str, fields: Iterable[str], run_id: str, timeout_seconds: float | None) -> Call:
    """Return the call that the command line means; raises what `event_fields` raises."""
    found = workflows.find(workflow)
    return Call(
        workflow=found,
        event=event_fields.start_event(found, fields),
        run_id=run_id,
        timeout_seconds=timeout_seconds,
    )


def run(call: Call, form: str, *, stream: bool) -> None:
    """Make the run and print its result as `text` or `json`."""
    result = _result(call, stream=stream)
    terminal.echo(
        _json({"run_id": call.run_id, "result": result}) if form == "json" else text(result)
    )


def text(result: object) -> str:
    """Return a result as people read it: text as it is, anything else as JSON."""
    return result if isinstance(result, str) else _json(result)


def _result(call: Call, *, stream: bool) -> object:
    begun: list[str] = []

    def begin(run_id: str) -> None:
        begun.append(run_id)
        terminal.say(f"Run {printable.line(run_id)} of {call.workflow.workflow_name}")

    try:
        return loop.run(calls.result(call, begun=begin, show=_show if stream else None))
    except KeyboardInterrupt:
        terminal.say(_farewell(begun))
        raise


def _farewell(begun: list[str]) -> str:
    if not begun:
        return "Interrupted before the run was started."
    return (
        f"Interrupted. Run {printable.line(begun[0])} continues without this command; the same "
        f"command with --run-id {shlex.quote(begun[0])} waits for its result."
    )


def _show(event: Event) -> None:
    # Not as it is in the topic: others may write there what must not be shown here.
    terminal.say(f"{type_name(event)} {event.model_dump_json(warnings='none')}")


def _json(value: object) -> str:
    written = to_json(value, indent=2, inf_nan_mode="strings", bytes_mode="base64").decode()
    return printable.json(written)
