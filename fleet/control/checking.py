"""
Checks workflows by name, without a broker: one, or all that a module defines.

What is wrong with a workflow, or why its module cannot be imported, is a finding and not an error:
the other names are still checked.
"""

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType

from fleet.control import workflows
from fleet.control.workflows import BrokenModule
from fleet.records.errors import ExitCode, FleetError
from fleet.workflow import definition
from fleet.workflow.definition import Definition
from fleet.workflow.errors import WorkflowValidationError


class NoWorkflowThere(FleetError):
    """Raised when a module that is to be checked defines no workflow.

    What to do: Name the module that has the `class ...(Workflow)`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, module: str) -> None:
        super().__init__(
            f"the module {module!r} has no workflow class, so nothing was checked; name the module "
            "that has it. Classes whose names begin with _ are not looked at"
        )


@dataclass(frozen=True, slots=True)
class Checked:
    """One workflow, or a module that could not be imported, and what is wrong with it."""

    #: `module:Class`, or the module.
    name: str
    findings: tuple[str, ...] = ()


def check(names: Iterable[str]) -> list[Checked]:
    """Check what *names* lead to: `module`, `module:Class` or an installed workflow.

    Raises UnknownWorkflow, AmbiguousWorkflow, NoSuchModule, NotAWorkflow and NoWorkflowThere.
    """
    found = (checked for name in names for checked in _check(name))
    # Twice, if one is named by itself and with its module.
    return list({checked.name: checked for checked in found}.values())


def _check(name: str) -> Iterator[Checked]:
    is_module = ":" not in name and name not in workflows.installed()
    try:
        if not is_module:
            yield _checked(workflows.find(name))
            return
        module = workflows.module(name)
    except (BrokenModule, WorkflowValidationError) as failure:
        # A class statement checks signatures, so importing finds them.
        yield Checked(name, _findings(failure))
        return
    of_module = _defined_in(module)
    if not of_module:
        raise NoWorkflowThere(name)
    yield from map(_checked, of_module)


def _defined_in(module: ModuleType) -> list[type[Definition]]:
    """Return the workflows of *module*: its own, or if it has none, those that it imports."""
    members = vars(module).items()
    named = [value for name, value in members if not name.startswith("_")]
    found = [kind for kind in named if workflows.is_workflow(kind) and not inspect.isabstract(kind)]
    own = [kind for kind in found if kind.__module__ == module.__name__]
    return list(dict.fromkeys(own or found))


def _checked(workflow: type[Definition]) -> Checked:
    name = f"{workflow.__module__}:{workflow.__qualname__}"
    try:
        definition.graph(workflow)
        definition.check_files(workflow)
    except FleetError as failure:
        return Checked(name, _findings(failure))
    return Checked(name)


def _findings(failure: FleetError) -> tuple[str, ...]:
    if isinstance(failure, WorkflowValidationError):
        return tuple(failure.findings)
    return (str(failure),)
