"""What `fleet check` does: print what is wrong with workflows, and what runs would lack."""

from collections.abc import Sequence
from dataclasses import asdict

from fleet.cli.shared import counts, loop, output, terminal
from fleet.config import settings as configuration
from fleet.control import against, checking, times, workflows
from fleet.control.against import Line
from fleet.control.checking import Checked
from fleet.records import printable
from fleet.records.errors import ExitCode, FleetError
from fleet.records.topics import Topics
from fleet.workflow import definition


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


class WorkWouldFail(FleetError):
    """Raised when `fleet check --against` found work that the checked version has no step for.

    What to do: Write `@step(formerly=...)` at the step that replaces the missing one, or keep the
    step until no run has work for it (docs/versioning.md#rename-or-remove-a-step).
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, missing: Sequence[Line], topics: Topics) -> None:
        steps = ", ".join(sorted({printable.line(line.step) for line in missing}))
        entries = counts.of(sum(line.count for line in missing), "piece")
        super().__init__(
            f"{entries} of suspended work of {topics.engine_id} would become dead letters: the "
            f"checked version has no step {steps} for it; write @step(formerly=...) at the step "
            "that replaces it, or keep it until no run needs it"
        )


class NotOneWorkflow(FleetError):
    """Raised when `fleet check --against` is to check several workflows.

    What to do: Name one, as `module:Class`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, count: int) -> None:
        super().__init__(
            f"--against compares one workflow with what runs, and the names lead to {count:,}; "
            "name one, as module:Class"
        )


def check(names: Sequence[str], running: str | None, form: str) -> None:
    """Check the workflows that *names* lead to; raise FindingsFound.

    With *running*, look at the suspended work of that workflow, too; raise WorkWouldFail.
    """
    checked = checking.check(names)
    if running is not None and not any(one.findings for one in checked):
        _compare(checked, running, form)
        return
    if form == "json":
        output.show([{"workflow": one.name, "findings": one.findings} for one in checked], form)
    else:
        _print(checked)
    if any(one.findings for one in checked):
        raise FindingsFound(checked)
    terminal.say(f"Nothing is wrong with {counts.of(len(checked), 'workflow')}.")


def _compare(checked: Sequence[Checked], running: str, form: str) -> None:
    if len(checked) != 1:
        raise NotOneWorkflow(len(checked))
    workflow, settings = workflows.find(checked[0].name), configuration.current()
    name, _, group = running.partition(".")
    topics = Topics(settings.prefix, name, group or workflow.group_name)
    work = loop.run(against.read(topics, settings))
    lines = work.lines(definition.graph(workflow))
    if form == "json":
        found = {"workflow": checked[0].name, "findings": (), "running": topics.engine_id}
        output.show([{**found, "suspended": [_fields(line) for line in lines]}], form)
    else:
        output.show([_row(line) for line in lines], form)
    missing = against.stops(lines)
    if missing:
        raise WorkWouldFail(missing, topics)
    total = counts.of(sum(line.count for line in lines), "piece")
    terminal.say(f"{checked[0].name} has a step for all suspended work that runs need: {total}.")


def _fields(line: Line) -> dict[str, object]:
    since = line.since_ms / 1000 if line.since_ms else None
    fields = {name: value for name, value in asdict(line).items() if name != "since_ms"}
    return {**fields, "fate": str(line.fate), "since": since}


def _row(line: Line) -> dict[str, object]:
    return {
        "fate": line.fate.replace("_", " "),
        "step": line.step,
        "now": line.now,
        "kind": line.kind,
        "event": line.event,
        "awaits": line.awaits,
        "count": f"{line.count:,}",
        "since": times.shown(line.since_ms / 1000) if line.since_ms else "",
    }


def _print(checked: Sequence[Checked]) -> None:
    for one in checked:
        for finding in one.findings:
            terminal.echo(printable.line(f"{one.name}: {finding}"))
