"""
Sends an event to a run from the command line, as a caller sends it to a run of its own.

`runs` says whether the run is open. A run that ends meanwhile drops the event.
"""

from fleet.client.connection import connect
from fleet.control import audit
from fleet.control.runs import topic
from fleet.control.runs.log import RUNNING, Run
from fleet.control.runs.topic import NoSuchRun
from fleet.control.source import Source
from fleet.records import printable
from fleet.records.errors import ExitCode, FleetError
from fleet.records.events import Event, type_name
from fleet.workflow import call_checks, definition
from fleet.workflow.errors import UnacceptedEvent


class RunIsOver(FleetError):
    """Raised when a command sends an event to a run that has ended.

    What to do: Resume the run with `fleet dead redrive` if it failed, then send the event again. Or
    start another run.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, run: Run) -> None:
        super().__init__(
            f"nothing was sent: run {printable.line(run.id)} has ended ({run.outcome}); a run that "
            "failed can be resumed with `fleet dead redrive`, otherwise start another one"
        )


class NotForThisStep(FleetError):
    """Raised when a command sends an event to a step that does not take it.

    What to do: Name a step that takes the event, or leave `--step` out.
    """

    exit_code = ExitCode.REFUSED


async def send(source: Source, run_id: str, event: Event, step: str | None, reason: str) -> None:
    """Send *event* to an open run; return when the log has it.

    Raises NoSuchRun, RunIsOver, NotForThisStep, NotAudited, and the errors of `topic.runs`.
    """
    _check_step(source, event, step)
    log, _ = await topic.runs(source, [run_id])
    run = log.get(run_id)
    if run is None:
        raise NoSuchRun(run_id, source.topics.runs)
    if run.outcome != RUNNING:
        raise RunIsOver(run)
    await audit.record(
        source.settings,
        command="runs send",
        workflow=source.workflow.workflow_name,
        reason=reason,
        details={"run_id": run_id, "type": type_name(event), "step": step},
    )
    async with connect(source.workflow, settings=source.settings) as flow:
        await flow.send_event(run_id, event, step)


def _check_step(source: Source, event: Event, step: str | None) -> None:
    workflow = source.workflow
    try:
        call_checks.sent(workflow.__name__, definition.graph(workflow), event, step)
    except UnacceptedEvent as refused:
        raise NotForThisStep(str(refused)) from None
