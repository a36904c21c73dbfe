"""A workflow class by its name, as an export of a run has it: `module:Class`."""

import importlib
from typing import Any, TypeVar

from fleet.records import printable
from fleet.records.errors import FleetError

T = TypeVar("T")


class UnknownWorkflowClass(FleetError):
    """Raised if the workflow class that an export names cannot be had here.

    What to do: Pass the class, or an object of it if it takes arguments: `replay(run, OrderFlow)`.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"the workflow {printable.line(name)} of the export cannot be had here: {reason}; "
            "pass the class, or an object of it if it takes arguments"
        )


def find(name: str, base: type[T]) -> type[T]:
    """Import the class called *name*, a subclass of *base*; raise UnknownWorkflowClass."""
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as failure:
        raise UnknownWorkflowClass(name, str(failure)) from None
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UnknownWorkflowClass(name, "it is no workflow class")
    return found
