"""`fleet run`: start a run of a workflow and print its result, or many from a file."""

import uuid
from pathlib import Path

import click

from fleet.cli.shared import options, types


@click.command()
@options.workflow
@click.argument("fields", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--run-id",
    metavar="ID",
    help="Names the run. One id starts one run: a repeated command waits for its result. "
    "With --input, it is the first part of each run's id.",
)
@click.option(
    "--timeout",
    "timeout_seconds",
    type=types.Number(min=0),
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
@options.as_json
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
    help="Make a run of each line: a JSON object with the start event's fields and, if you like, "
    "an id.",
)
@click.option(
    "--output",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file for the results of --input, a line each. Lines with a result are skipped.",
)
@click.option(
    "--concurrency",
    type=types.Whole(min=1),
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

    WORKFLOW is module:Class, of a module in the current directory or of an installed package, or
    the name of an installed workflow, such as joke.

    Give the start event's fields as KEY=VALUE. A value is text, or JSON if the field takes no text:
    ids=[1,2]. KEY:=VALUE is always JSON: count:=3.

    With --input and --output the command makes a run of each line of a file. After an interruption
    the same command continues: it starts nothing twice, and tries failed lines again.

    \b
    Exit codes:
      0    the result is on stdout; with --input, every line has one
      1    the run failed or timed out, or the command did not hear of its end
      2    a wrong name, field or line; nothing was started
      3    with --input: some lines have no result
      4    no broker answers
      130  Ctrl-C: the run continues, and the command says how to get its result
    """  # noqa: D301 - click's mark for lines that stay as they are
    files = _files(source, target, fields)
    timeout = timeout_seconds or None
    if files is not None:
        from fleet.cli.actions import bulk

        bulk.run_file(workflow, files, concurrency, timeout, run_id)
    else:
        from fleet.cli.actions import run as action

        name = run_id if run_id is not None else uuid.uuid4().hex
        action.run(action.call(workflow, fields, name, timeout), form, stream=stream)


def _files(
    source: Path | None, target: Path | None, fields: tuple[str, ...]
) -> tuple[Path, Path] | None:
    """Return input and output, or None for a single run."""
    if source is None and target is None:
        return None
    if source is None or target is None:
        raise click.UsageError(
            "--input and --output go together: items.jsonl and results.jsonl. For the form of a "
            "single result, use -o"
        )
    if fields:
        raise click.UsageError(f"with --input the fields are in its lines; leave out {fields[0]}")
    return source, target
