"""
Which members of a workflow class are its steps.

A subclass inherits the steps of its bases. A method of the same name replaces one; without `@step`
it takes the step away. Functions outside of the class that were added are members like its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fleet.workflow import marking, signature
from fleet.workflow.errors import Unresolved, WorkflowValidationError
from fleet.workflow.steps import Step


@dataclass(frozen=True, slots=True)
class _Member:
    value: Any
    #: The types around it, for annotations that are text.
    namespace: Mapping[str, Any]
    is_free: bool = False


def steps(cls: type[Any]) -> list[Step]:
    """Return the steps of *cls*, bases first, in the order of the source.

    Raises WorkflowValidationError with what is wrong in any of them.
    """
    members: dict[str, _Member] = {}
    for klass in reversed(cls.__mro__):
        members |= _own(klass, cls)
    return _read(cls.__name__, members, may_be_unresolved=False)


def check_own(cls: type[Any]) -> None:
    """Raise WorkflowValidationError if a step in the body of *cls* cannot be one.

    Annotations that name types which are not known yet are for later.
    """
    _read(cls.__name__, _own(cls, cls), may_be_unresolved=True)


def check_added(cls: type[Any], function: Any) -> None:
    """Raise WorkflowValidationError if *function* cannot become a step of *cls*."""
    name = function.__name__
    if not marking.is_step(function):
        finding = (
            f"Step function {name} is missing the `@step` decorator; write "
            f"`@step(workflow={cls.__name__})` above it"
        )
        raise WorkflowValidationError(cls.__name__, [finding])
    if name in cls._fleet_added or marking.is_step(getattr(cls, name, None)):
        finding = f"A step {name} is already part of this workflow; choose another name"
        raise WorkflowValidationError(cls.__name__, [finding])
    _read(cls.__name__, {name: _added(function)}, may_be_unresolved=True)


def _own(klass: type[Any], cls: type[Any]) -> dict[str, _Member]:
    """Return the members of *klass*, which is *cls* or one of its bases."""
    around = vars(klass).get("_fleet_namespace", cls._fleet_namespace)
    of_class = dict(vars(klass))
    namespace = {**around, **marking.kept_names(of_class, of_class.values())}
    own = {name: _Member(value, namespace) for name, value in of_class.items()}
    added = vars(klass).get("_fleet_added", {})
    return own | {name: _added(function) for name, function in added.items()}


def _added(function: Any) -> _Member:
    return _Member(function, marking.names_of(function), is_free=True)


def _read(owner: str, members: dict[str, _Member], *, may_be_unresolved: bool) -> list[Step]:
    found, findings = [], []
    for name, member in _steps_among(members):
        try:
            one = signature.read(member.value, name, member.namespace, is_free=member.is_free)
            found.append(one)
        except Unresolved as unknown:
            findings += [] if may_be_unresolved else unknown.findings
        except WorkflowValidationError as wrong:
            findings += wrong.findings
    if findings:
        raise WorkflowValidationError(owner, findings)
    return found


def _steps_among(members: dict[str, _Member]) -> Iterator[tuple[str, _Member]]:
    return ((name, one) for name, one in members.items() if marking.is_step(one.value))
