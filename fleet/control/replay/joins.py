"""
What becomes of the joins of a run that begins in its middle.

A step that takes `list[E]` begins at the end of a fan-out of its own run. A run that begins inside
of a branch has no such fan-out: the join never begins. A step with several event parameters begins
only if the run gets an event for each.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from fleet.records.events import Event, StopEvent, type_name
from fleet.workflow import levels
from fleet.workflow.graph import Graph
from fleet.workflow.steps import Step


@dataclass(frozen=True, slots=True)
class Outlook:
    """How far a run can come that begins with one event, as the annotations have it."""

    #: Whether it may come to a result.
    may_end: bool
    #: Joins of lists that would take something of it, and never begin.
    lost: tuple[Step, ...]
    #: Joins of several parameters, with the types that nothing in the run sends.
    incomplete: tuple[tuple[Step, tuple[str, ...]], ...]

    @property
    def is_dead_end(self) -> bool:
        """Whether the run could only come to a join that never begins."""
        return bool(self.lost) and not self.may_end


def outlook(graph: Graph, event: type[Event]) -> Outlook:
    """Return how far a run can come that begins with *event*."""
    level = levels.at(graph.steps, [event])
    reached = _with_branches(graph, level)
    lists = (step for step in graph.steps if step.collect is not None)
    several = (step for step in graph.steps if len(step.slots) > 1)
    return Outlook(
        may_end=any(issubclass(kind, (StopEvent, *graph.results)) for kind in reached),
        lost=tuple(step for step in lists if any(map(step.takes, level))),
        incomplete=tuple(
            (step, missing) for step in several if (missing := _missing(step, reached))
        ),
    )


def beginnings(graph: Graph, lost: Iterable[Step]) -> list[type[Event]]:
    """Return the events that begin a run in which these joins take part."""
    names = {join.name for join in lost}
    openers = [
        step
        for step in graph.steps
        if any(join.name in names for join in graph.joins_of.get(step.name, ()))
    ]
    found = dict.fromkeys(event for step in openers for event in step.accepts)
    # A fan-out may itself be in a branch of another.
    usable = [event for event in found if not outlook(graph, event).is_dead_end]
    return usable or [graph.start]


def _with_branches(graph: Graph, level: Iterable[type[Event]]) -> set[type[Event]]:
    """Return the events of a level and of the fan-outs that are opened in it."""
    reached = set(level)
    to_see = [step for step in graph.steps if step.fans_out]
    while opened := [step for step in to_see if any(map(step.takes, reached))]:
        to_see = [step for step in to_see if step not in opened]
        for step in opened:
            reached |= levels.at(graph.steps, step.fans_out)
    return reached


def _missing(step: Step, reached: set[type[Event]]) -> tuple[str, ...]:
    """Return the types of the parameters that get nothing; empty if none of them gets any."""
    empty = [
        slot for slot in step.slots if not any(issubclass(kind, slot.types) for kind in reached)
    ]
    if len(empty) == len(step.slots):
        return ()
    return tuple(type_name(slot.types[0]) for slot in empty)
