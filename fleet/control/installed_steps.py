"""The steps of the workflows that are installed here. A broker does not know steps."""

from importlib import metadata

from fleet.control import workflows
from fleet.records.errors import FleetError
from fleet.workflow import definition


def by_group() -> dict[tuple[str, str], list[str]]:
    """Return step names by workflow and group, of the workflows that can be imported."""
    found = {}
    for entry in metadata.entry_points(group=workflows.ENTRY_POINTS):
        try:
            workflow = workflows.find(entry.value)
            steps = [step.name for step in definition.graph(workflow).steps]
        except FleetError:
            continue
        found[workflow.workflow_name, workflow.group_name] = steps
    return found
