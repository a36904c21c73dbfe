"""
The port through which a workflow runs.

A workflow is declared here, and this room knows no log, no caller and no Faust. `fleet/__init__`
fills the port with a function that loads them at the first run, so that declaring stays light.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from fleet.records.errors import FleetError

if TYPE_CHECKING:
    from uuid import UUID

    from fleet.client.handler import WorkflowHandler
    from fleet.host.event_topic import WorkflowTopic
    from fleet.records.events import Event
    from fleet.workflow.workflow import Workflow


class Starter(Protocol):
    """Starts runs of one workflow."""

    def run(
        self,
        event: "Event",
        run_id: "str | UUID | None",
        timeout_seconds: float | None,
        *,
        keeps: object = None,
    ) -> "WorkflowHandler":
        """Send the start event; return the run's handler at once. The handler holds *keeps*."""
        ...


class Events(Protocol):
    """The events of one workflow on a Faust app."""

    def topic(self, event_type: "type[Event]") -> "WorkflowTopic":
        """Return the topic of *event_type*; raise WorkflowConfigurationError if there is none."""
        ...


class Place(Protocol):
    """Where one workflow runs: in this process, or on a Faust app."""

    @property
    def events(self) -> Events | None:
        """The workflow's events for agents; None in memory."""
        ...

    def starter(self, workflow: "Workflow") -> Starter:
        """Return what starts runs of *workflow* in the running event loop.

        Raises NoLoop if no event loop runs, and AppStopped if the app ran and was stopped.
        """
        ...


#: Return where a workflow runs, given its Faust app (or None) and the time limit of its runs.
FindPlace = Callable[["Workflow", Any, float | None], Place]


class PortNotFilled(FleetError):
    """Raised when a workflow is to run and the package `fleet` has not said where.

    What to do: Import `fleet` before you run a workflow.
    """

    def __init__(self) -> None:
        super().__init__(
            "nothing runs workflows in this process: `fleet/__init__` fills the port "
            "`fleet.workflow.running` and was not imported to its end; write `import fleet` first"
        )


_filled_with: list[FindPlace] = []


def fill(find_place: FindPlace) -> None:
    """Let workflows run where *find_place* says."""
    _filled_with[:] = [find_place]


def place(workflow: "Workflow", app: Any, timeout_seconds: float | None) -> Place:
    """Return where *workflow* runs; raise PortNotFilled."""
    if not _filled_with:
        raise PortNotFilled
    (find_place,) = _filled_with
    return find_place(workflow, app, timeout_seconds)
