"""What a caller gives beside the event is checked here, wherever the call comes from."""

from fleet.records import limits
from fleet.workflow.errors import WorkflowConfigurationError


def run_id(given: str) -> str:
    """Return *given* if it can be a run's id; raise WorkflowConfigurationError."""
    _raise(limits.run_id_problem(given))
    return given


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
