"""What `fleet check` does: print what is wrong with workflows, a line for each finding."""

from collections.abc import Sequence

from fleet.cli.shared import counts, output, terminal
from fleet.control import checking
from fleet.control.checking import Checked
from fleet.records import printable
from fleet.records.errors import ExitCode, FleetError


class FindingsFound(FleetError):
    """Raised when `fleet check` found something wrong.

    What to do: Correct each finding that stdout lists, or skip its check
    (docs/workflows.md#checks).
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, checked: Sequence[Checked]) -> None:
        wrong = [one for one in checked if one.findings]
        found = counts.of(sum(len(one.findings) for one in wrong), "finding")
        super().__init__(f"{found} in {len(wrong):,} of {counts.of(len(checked), 'workflow')}")


def check(names: Sequence[str], form: str) -> None:
    """Check the workflows that *names* lead to; raise FindingsFound."""
    checked = checking.check(names)
    if form == "json":
        output.show([{"workflow": one.name, "findings": one.findings} for one in checked], form)
    else:
        _print(checked)
    if any(one.findings for one in checked):
        raise FindingsFound(checked)
    terminal.say(f"Nothing is wrong with {counts.of(len(checked), 'workflow')}.")


def _print(checked: Sequence[Checked]) -> None:
    for one in checked:
        for finding in one.findings:
            terminal.echo(printable.line(f"{one.name}: {finding}"))
