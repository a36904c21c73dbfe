"""`fleet run`: start a run of a workflow and print its result, or many from a file."""

import shlex
import sys
import uuid
from pathlib import Path

import click
from pydantic_core import to_json

from fleet.cli.shared import loop, options, terminal
from fleet.cli.views import bulk
from fleet.control import calls, start_fields, workflows
from fleet.control.bulk.calls import Batch
from fleet.control.calls import Call
from fleet.records import printable
from fleet.records.events import Event, type_name


@click.command()
@click.argument("workflow")
@click.argument("fields", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--run-id",
    metavar="ID",
    help="Names the run. The same id starts one run: a repeated command waits for its result. "
    "With --input, it is the first part of each run's id.",
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
@click.option(
    "--input",
    "source",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Make a run of each line: a JSON object with the start event's fields and perhaps an id.",
)
@click.option(
    "--output",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the results of --input go, a line each. What has a result there is skipped.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="With --input: how many runs are under way at a time.",
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
    source: Path | None,
    target: Path | None,
    concurrency: int,
) -> None:
    """Run WORKFLOW once on its workers, and print the result.

    WORKFLOW is module:Class, the module being importable from the current directory, or the name
    of an installed workflow, such as joke.

    The start event's fields are given as KEY=VALUE. A value is text; where the start event
    declares a field that text does not fit, it is read as JSON: ids=[1,2]. KEY:=VALUE is JSON in
    any case: count:=3.

    With --input and --output it makes a run of each line of a file. The same command goes on after
    an interruption, without starting anything twice, and tries again what has failed.

    \b
    Exit codes:
      0    the result is on stdout; with --input, every line has one
      1    the run failed or timed out
      2    a wrong name, field or line; nothing was started
      3    with --input: some lines have no result
      4    no broker answers
      130  Ctrl-C: the run goes on, and the command says how to get its result
    """  # noqa: D301 - click's mark for lines that stay as they are
    files = _files(source, target, fields)
    found = workflows.find(workflow)
    if files is not None:
        batch = Batch(found, *files, concurrency, timeout_seconds or None, run_id)
        bulk.run(batch, again=_this_command())
        return
    call = Call(
        workflow=found,
        event=start_fields.start_event(found, fields),
        run_id=run_id if run_id is not None else uuid.uuid4().hex,
        timeout_seconds=timeout_seconds or None,
    )
    result = _result(call, stream=stream)
    terminal.echo(
        _json({"run_id": call.run_id, "result": result}) if form == "json" else text(result)
    )


def _files(
    source: Path | None, target: Path | None, fields: tuple[str, ...]
) -> tuple[Path, Path] | None:
    """Return input and output, or None for a single run."""
    if source is None and target is None:
        return None
    if source is None or target is None:
        raise click.UsageError(
            "--input and --output go together: items.jsonl and results.jsonl. How a single result "
            "is printed is -o"
        )
    if fields:
        raise click.UsageError(f"with --input the fields are in its lines; leave out {fields[0]}")
    return source, target


def _this_command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def text(result: object) -> str:
    """Return a result as people read it: text as it is, anything else as JSON."""
    return result if isinstance(result, str) else _json(result)


def _result(call: Call, *, stream: bool) -> object:
    begun: list[str] = []

    def begin(run_id: str) -> None:
        begun.append(run_id)
        _say(f"Run {printable.line(run_id)} of {call.workflow.workflow_name}")

    try:
        return loop.run(calls.result(call, begun=begin, show=_show if stream else None))
    except KeyboardInterrupt:
        _say(_farewell(begun))
        raise


def _farewell(begun: list[str]) -> str:
    if not begun:
        return "Interrupted before anything was started."
    return (
        f"Interrupted. Run {printable.line(begun[0])} goes on without this command; the same "
        f"command with --run-id {shlex.quote(begun[0])} waits for its result."
    )


def _show(event: Event) -> None:
    # Not as it is in the topic: what may be written there need not be shown here.
    _say(f"{type_name(event)} {event.model_dump_json(warnings='none')}")


def _say(words: str) -> None:
    terminal.echo(words, err=True)


def _json(value: object) -> str:
    text = to_json(value, indent=2, inf_nan_mode="strings", bytes_mode="base64").decode()
    return printable.json(text)
