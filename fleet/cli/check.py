"""`fleet check`: says what is wrong with workflows, for you and for CI."""

import click

from fleet.cli.shared import options


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="MODULE[:CLASS]...")
@click.option(
    "--against",
    "running",
    metavar="RUNNING",
    help="Look also at the suspended work of a workflow that runs: NAME or NAME.GROUP as in its "
    "topics.",
)
@options.output
@options.as_json
@options.broker
def check(names: tuple[str, ...], running: str | None, form: str) -> None:
    """Check workflows: all that a MODULE defines, or one CLASS of it.

    It prints every finding on a line of its own, with the step, the event and what to do. The name
    of an installed workflow is fine, too. The command needs no broker without `--against`. Of a
    module, it leaves out abstract classes and those whose names begin with _.

    With `--against`, check the one workflow that you are about to deploy. From the state of the
    running one, the command lists the work that waits in open runs, by step: what the checked
    version has no step for, so that it would become dead letters; what follows
    `@step(formerly=...)`; and what waits for an event of a type that the version does not have.
    The kind `failed` is work of runs that failed: it matters only if you resume them, and does not
    change the exit code.

    \b
    Exit codes:
      0    nothing is wrong
      2    there are findings, work would become dead letters, a module cannot be imported, or
           there is no such workflow
    """  # noqa: D301 - click's mark for lines that stay as they are
    from fleet.cli.actions import check as action

    action.check(names, running, form)
