"""`fleet run`: start a run of a workflow and print its result."""

import json
import uuid

import click
from pydantic_core import to_jsonable_python

from fleet.admin import calls, loop, options, start_fields, workflows
from fleet.admin.calls import Call
from fleet.records.events import Event


@click.command()
@click.argument("workflow")
@click.argument("fields", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--run-id",
    metavar="ID",
    help="Names the run. The same id starts one run: a repeated command waits for its result.",
)
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=0),
    default=45.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the run may take; 0 sets no limit.",
)
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the result; json has the run id, too.",
)
@click.option(
    "--stream/--no-stream",
    default=True,
    show_default=True,
    help="Show on stderr what steps write to the stream, as it comes.",
)
@options.broker
def run(  # noqa: PLR0913 - click gives each option a parameter
    workflow: str,
    fields: tuple[str, ...],
    run_id: str | None,
    timeout_seconds: float,
    form: str,
    *,
    stream: bool,
) -> None:
    """Run WORKFLOW once on its workers, and print the result.

    WORKFLOW is module:Class, the module being importable from the current directory, or the name
    of an installed workflow, such as joke.

    The start event's fields are given as KEY=VALUE. A value is text; where the start event
    declares a field that text does not fit, it is read as JSON: ids=[1,2]. KEY:=VALUE is JSON in
    any case: count:=3.

    \b
    Exit codes:
      0    the result is on stdout
      1    the run failed or timed out
      2    a wrong name or field; nothing was started
      4    no broker answers
      130  Ctrl-C: the run goes on, and the command says how to get its result
    """  # noqa: D301 - click's mark for lines that stay as they are
    found = workflows.find(workflow)
    call = Call(
        workflow=found,
        event=start_fields.start_event(found, fields),
        run_id=run_id if run_id is not None else uuid.uuid4().hex,
        timeout_seconds=timeout_seconds or None,
    )
    result = _result(call, stream=stream)
    click.echo(_json({"run_id": call.run_id, "result": result}) if form == "json" else text(result))


def text(result: object) -> str:
    """Return a result as people read it: text as it is, anything else as JSON."""
    return result if isinstance(result, str) else _json(result)


def _result(call: Call, *, stream: bool) -> object:
    begun: list[str] = []

    def begin(run_id: str) -> None:
        begun.append(run_id)
        _say(f"Run {run_id} of {call.workflow.workflow_name}")

    try:
        return loop.run(calls.result(call, begun=begin, show=_show if stream else None))
    except KeyboardInterrupt:
        _say(_farewell(begun))
        raise


def _farewell(begun: list[str]) -> str:
    if not begun:
        return "Interrupted before anything was started."
    return (
        f"Interrupted. Run {begun[0]} goes on without this command; the same command with "
        f"--run-id {begun[0]} waits for its result."
    )


def _show(event: Event) -> None:
    _say(f"{event.type_name()} {event.encode().decode()}")


def _say(words: str) -> None:
    click.echo(words, err=True)


def _json(value: object) -> str:
    return json.dumps(to_jsonable_python(value), ensure_ascii=False, indent=2)
