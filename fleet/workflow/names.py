"""What a workflow may be called, and which names of its members are Fleet's."""

import re
import types

from fleet.workflow import marking
from fleet.workflow.errors import WorkflowConfigurationError, WorkflowValidationError

#: What Kafka allows in the name of a topic.
_LEGAL_NAME = re.compile(r"[a-zA-Z0-9_-]+")

_NAMED_IN_BRACKETS = frozenset({"workflow_name", "group_name"})
#: What Fleet gives every workflow: no step and no attribute may have these names.
TAKEN = _NAMED_IN_BRACKETS | {"run", "run_sync", "topic", "validate", "add_step"}


def plain(class_name: str) -> str:
    """Return the name of a workflow whose class names none: `JokeFlow` is `joke`."""
    stem = re.sub(r"(Workflow|Flow)$", "", class_name) or class_name
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", stem).lower()


def legal(name: str, what: str, cls: type) -> str:
    """Return *name* if topics may have it; raise WorkflowConfigurationError."""
    if not _LEGAL_NAME.fullmatch(name):
        raise WorkflowConfigurationError(
            f"{name!r} cannot be the {what} of {cls.__name__}: it is part of topic names, so use "
            "letters, digits, '_' and '-'"
        )
    return name


def refuse_taken(cls: type) -> None:
    """Refuse a step or an attribute that would hide what Fleet gives every workflow."""
    findings = []
    annotated = dict.fromkeys(vars(cls).get("__annotations__", ()))
    for name, member in {**annotated, **vars(cls)}.items():
        if name in TAKEN and marking.is_step(member):
            findings.append(taken(cls.__name__, "step", name))
        # A plain method of the name is how a subclass overrides, as anywhere in Python.
        elif name in TAKEN and not isinstance(member, types.FunctionType):
            findings.append(taken(cls.__name__, "attribute", name))
    if findings:
        raise WorkflowValidationError(cls.__name__, findings)


def taken(workflow: str, what: str, name: str) -> str:
    """Return why a step or an attribute (*what*) of *workflow* cannot have *name*."""
    if name in _NAMED_IN_BRACKETS:
        keyword = name.removesuffix("_name")
        return (
            f"{what} {name} is set by Fleet; write `class {workflow}(Workflow, "
            f"{keyword}=...)`, or rename it"
        )
    return (
        f"{what} {name} would hide `{workflow}.{name}`, which Fleet gives every workflow; rename it"
    )
