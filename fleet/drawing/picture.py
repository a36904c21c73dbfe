"""
What a drawing shows: a workflow's events and steps as nodes, its routing as arrows.

It also shows what the annotations imply: where a run starts, where it is done, and where a branch
ends without either. It knows no places, pixels or file formats.
"""

import inspect
import types
import typing
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from fleet.records.events import Event
from fleet.workflow import definition
from fleet.workflow.definition import Definition
from fleet.workflow.graph import Graph
from fleet.workflow.steps import Step


class Kind(StrEnum):
    """What a node stands for; also its CSS class."""

    START = "start"
    EVENT = "event"
    RESULT = "result"
    STEP = "step"
    DEAD_END = "dead-end"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Node:
    """One thing in the drawing."""

    kind: Kind
    name: str
    #: None for nodes without code: start, done, dead ends.
    subject: type[Event] | Step | None = None


#: From one node to another, by their places in `Picture.nodes`.
Arrow = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Picture:
    """Nodes and the arrows between them; the first node is the start."""

    workflow: type[Definition]
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]

    def before(self, node: int) -> list[int]:
        """Return the nodes with an arrow to *node*."""
        return [source for source, target in self.arrows if target == node]

    def after(self, node: int) -> list[int]:
        """Return the nodes with an arrow from *node*."""
        return [target for source, target in self.arrows if source == node]


def of(workflow: type[Definition]) -> Picture:
    """Return the picture of *workflow*; raise WorkflowValidationError if its graph is wrong."""
    graph = definition.graph(workflow)
    nodes = dict(_nodes(graph))
    place = {key: number for number, key in enumerate(nodes)}
    arrows = ((place[source], place[target]) for source, target in _arrows(graph))
    # Without repetitions: an annotation may name a type twice.
    return Picture(workflow, tuple(nodes.values()), tuple(dict.fromkeys(arrows)))


def may_end(step: Step, graph: Graph) -> bool:
    """Tell whether *step* may return None beside events: its branch then ends there."""
    local = {event.__name__: event for event in graph.types.values()}
    try:
        hint = typing.get_type_hints(step.function, localns=local)["return"]
    except NameError:
        # The step resolved it with the names around its class, which are gone. The drawing only
        # loses a remark.
        return False
    return bool(step.returns) and types.NoneType in typing.get_args(hint)


def told(thing: type | Step) -> str:
    """Return the docstring that *thing* has of its own, not of the class it inherits from."""
    text = thing.function.__doc__ if isinstance(thing, Step) else vars(thing).get("__doc__")
    return inspect.cleandoc(text) if text else ""


def _nodes(graph: Graph) -> Iterator[tuple[Hashable, Node]]:
    """Yield each node after what `_arrows` calls it."""
    yield Kind.START, Node(Kind.START, "start")
    for name, event in graph.types.items():
        kind = Kind.RESULT if event in graph.results else Kind.EVENT
        yield event, Node(kind, name, event)
    for step in graph.steps:
        yield step, Node(Kind.STEP, step.name, step)
        if not step.returns:
            yield (Kind.DEAD_END, step), Node(Kind.DEAD_END, "dead end")
    yield Kind.DONE, Node(Kind.DONE, "done")


def _arrows(graph: Graph) -> Iterator[tuple[Hashable, Hashable]]:
    yield Kind.START, graph.start
    for step in graph.steps:
        yield from ((event, step) for event in step.accepts)
        yield from ((step, event) for event in step.returns)
        if not step.returns:
            yield step, (Kind.DEAD_END, step)
    # A workflow may name a result type that none of its steps returns.
    yield from ((event, Kind.DONE) for event in graph.results if event in graph.types.values())
