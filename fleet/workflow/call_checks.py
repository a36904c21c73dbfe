"""Checks of a call's arguments beside the event, for every way to make the call."""

from collections.abc import Iterable
from uuid import UUID

from fleet.records import limits
from fleet.records.events import Event, type_name
from fleet.workflow.errors import (
    UnacceptedEvent,
    UnroutableEvent,
    WorkflowConfigurationError,
)
from fleet.workflow.graph import Graph
from fleet.workflow.steps import Step


def run_id(given: str | UUID) -> str:
    """Return *given* as text if it can be a run's id; raise WorkflowConfigurationError."""
    text = str(given) if isinstance(given, UUID) else given
    _raise(limits.run_id_problem(text))
    return text


def sent(workflow: str, graph: Graph, event: object, step: str | None) -> None:
    """Raise UnacceptedEvent if *event* is none, or *step* does not take it."""
    if not isinstance(event, Event):
        kind = event.__name__ if isinstance(event, type) else type(event).__name__
        way = f"write {kind}(...)" if isinstance(event, type) else "make it a subclass of Event"
        raise UnacceptedEvent(workflow, f"send_event takes an event, not {kind}", way)
    wrong = _wrong_target(graph, event, step) if step is not None else None
    if wrong is not None:
        raise UnacceptedEvent(workflow, *wrong)


def target(graph: Graph, sender: str, event: Event, step: str) -> None:
    """Raise UnroutableEvent, in the step *sender*, if *step* does not take *event*."""
    wrong = _wrong_target(graph, event, step)
    if wrong is not None:
        raise UnroutableEvent(sender, type_name(event), *wrong)


def _wrong_target(graph: Graph, event: Event, step: str) -> tuple[str, str] | None:
    """Return why *step* does not take *event*, and what to do; None if it does."""
    name = type_name(event)
    meant = graph.step_called.get(step)
    if meant is None:
        known = _listed(one.shown for one in graph.steps)
        return f"there is no step {step!r}", f"the steps are {known}"
    accepting = graph.accepting_type(type(event))
    if any(step in taker.names for taker in accepting):
        return _wrong_join(meant, name)
    taken = _listed(type_name(kind) for kind in meant.accepts)
    takers = _listed(taker.shown for taker in accepting)
    others = f"{name} is for {takers}" if accepting else f"no step accepts {name}"
    return f"step {step} does not accept {name}", f"{step} accepts {taken}, and {others}"


def _wrong_join(step: Step, event: str) -> tuple[str, str] | None:
    if step.collect is None:
        return None
    problem = f"step {step.shown} joins what a returned list comes to, and takes nothing sent to it"
    way = f"return {event} from a step of the fan-out, or use ctx.collect_events"
    return problem, way


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


def concurrent_runs(count: object) -> int | None:
    """Return *count* if it can be `num_concurrent_runs`; raise WorkflowConfigurationError."""
    if count is None:
        return None
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise WorkflowConfigurationError(
            f"num_concurrent_runs must be an integer greater than 0 or None, not {count!r}"
        )
    return count


def _raise(problem: str) -> None:
    if problem:
        raise WorkflowConfigurationError(problem)
