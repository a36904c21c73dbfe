"""`fleet check`: says what is wrong with workflows, for you and for CI."""

import click

from fleet.cli.shared import options


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="MODULE[:CLASS]...")
@options.output
@options.as_json
def check(names: tuple[str, ...], form: str) -> None:
    """Check workflows: all that a MODULE defines, or one CLASS of it.

    It prints every finding on a line of its own, with the step, the event and what to do. The name
    of an installed workflow is fine, too. The command needs no broker. Of a module, it leaves out
    abstract classes and those whose names begin with _.

    \b
    Exit codes:
      0    nothing is wrong
      2    there are findings, a module cannot be imported, or there is no such workflow
    """  # noqa: D301 - click's mark for lines that stay as they are
    from fleet.cli.actions import check as action

    action.check(names, form)
