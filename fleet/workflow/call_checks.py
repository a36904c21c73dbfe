"""Checks of a call's arguments beside the event, for every way to make the call."""

from collections.abc import Iterable
from uuid import UUID

from fleet.records import limits
from fleet.records.events import Event, type_name
from fleet.workflow.errors import UnacceptedEvent, WorkflowConfigurationError
from fleet.workflow.graph import Graph


def run_id(given: str | UUID) -> str:
    """Return *given* as text if it can be a run's id; raise WorkflowConfigurationError."""
    text = str(given) if isinstance(given, UUID) else given
    _raise(limits.run_id_problem(text))
    return text


def sent(workflow: str, graph: Graph, event: object, step: str | None) -> None:
    """Raise UnacceptedEvent if no step takes *event* from outside, or *step* does not."""
    if not isinstance(event, Event):
        kind = event.__name__ if isinstance(event, type) else type(event).__name__
        way = f"write {kind}(...)" if isinstance(event, type) else "make it a subclass of Event"
        raise UnacceptedEvent(workflow, f"send_event takes an event, not {kind}", way)
    name = type_name(event)
    accepting = [taker.name for taker in graph.accepting.get(name, ())]
    if step is not None and step not in graph.step_by_name:
        there = _listed(graph.step_by_name)
        raise UnacceptedEvent(workflow, f"it has no step {step!r}", f"its steps are {there}")
    if not accepting:
        outside = _listed(graph.accepting)
        problem = f"no step accepts {name}"
        raise UnacceptedEvent(workflow, problem, f"annotate a step with it (accepted: {outside})")
    if step not in (None, *accepting):
        problem = f"step {step} does not accept {name}"
        raise UnacceptedEvent(workflow, problem, f"{_listed(accepting)} does")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def timeout(seconds: float | None, of: str = "a run's") -> float | None:
    """Return *seconds* if it can be a time limit; raise WorkflowConfigurationError.

    *of* says whose it is: "a run's" or "a workflow's".
    """
    if seconds is None:
        return None
    problem = limits.timeout_problem(seconds)
    _raise(problem and f"{of} {problem}")
    # Other kinds of numbers, such as NumPy's, are written in another way.
    return float(seconds)


def _raise(problem: str) -> None:
    if problem:
        raise WorkflowConfigurationError(problem)
