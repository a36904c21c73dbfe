"""
What a drawing shows: a workflow's events and steps as nodes, its routing as arrows.

It also shows what the annotations imply: where a run starts, where it is done, and where a branch
ends without either. Questions go outside, and answers come from there. It knows no places, pixels
or file formats.
"""

import inspect
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fleet.records.events import Event, InputRequiredEvent
from fleet.workflow import definition
from fleet.workflow.collect import Collect, Take
from fleet.workflow.definition import Definition
from fleet.workflow.failing.step_failed import StepFailedEvent
from fleet.workflow.graph import Graph, answers, unique
from fleet.workflow.steps import Step


class Kind(StrEnum):
    """What a node stands for; also its CSS class."""

    START = "start"
    EVENT = "event"
    RESULT = "result"
    STEP = "step"
    DEAD_END = "dead-end"
    DONE = "done"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Node:
    """One thing in the drawing."""

    kind: Kind
    name: str
    #: None for nodes without code: start, done, dead ends, outside.
    subject: type[Event] | Step | None = None


#: From one node to another, by their places in `Picture.nodes`.
Arrow = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Label:
    """What is written on an arrow."""

    words: str
    #: Whether several events go along it: the members of a list.
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """Nodes and the arrows between them; the first node is the start."""

    workflow: type[Definition]
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]
    #: Most arrows have none.
    labels: Mapping[Arrow, Label] = field(default_factory=dict)
    #: Those from a step to the handler of its failures.
    failures: frozenset[Arrow] = frozenset()

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
    arrows, labels = list[Arrow](), dict[Arrow, Label]()
    for source, target, label in _arrows(graph):
        arrow = place[source], place[target]
        arrows.append(arrow)
        if label is not None:
            labels[arrow] = label
    handled = [(place[step], place[handler]) for step, handler in _handled(graph)]
    # Without repetitions: an annotation may name a type twice.
    several = tuple(dict.fromkeys([*arrows, *handled]))
    return Picture(workflow, tuple(nodes.values()), several, labels, frozenset(handled))


def told(thing: type | Step) -> str:
    """Return the docstring that *thing* has of its own, not of the class it inherits from."""
    text = thing.function.__doc__ if isinstance(thing, Step) else vars(thing).get("__doc__")
    return inspect.cleandoc(text) if text else ""


def _nodes(graph: Graph) -> Iterator[tuple[Hashable, Node]]:
    """Yield each node after what `_arrows` calls it."""
    yield Kind.START, Node(Kind.START, "start")
    for name, event in graph.types.items():
        if event is graph.start or _is_drawn(event, graph):
            kind = Kind.RESULT if event in graph.results else Kind.EVENT
            yield event, Node(kind, name, event)
    for step in graph.steps:
        yield step, Node(Kind.STEP, step.shown, step)
        if not step.returns:
            yield (Kind.DEAD_END, step), Node(Kind.DEAD_END, "dead end")
    if _questions(graph) or answers(graph.steps):
        yield Kind.OUTSIDE, Node(Kind.OUTSIDE, "outside")
    yield Kind.DONE, Node(Kind.DONE, "done")


def _handled(graph: Graph) -> list[tuple[Step, Step]]:
    """Return each step whose failures are handled, with the step that does that."""
    return [(graph.step_by_name[name], handler) for name, handler in graph.handler_of.items()]


def _is_drawn(event: type[Event], graph: Graph) -> bool:
    """Tell whether an event has a node: a failure has none, unless a step returns one itself."""
    if event is StepFailedEvent:
        return any(event in step.returns for step in graph.steps)
    return not _is_only_a_base(event, graph)


def _is_only_a_base(event: type[Event], graph: Graph) -> bool:
    """Tell whether only steps that take subclasses name *event*, and they get some."""
    if any(event in step.returns for step in graph.steps):
        return False
    naming = [step for step in graph.steps if event in step.accepts]
    below = [kind for kind in graph.types.values() if kind is not event and issubclass(kind, event)]
    return all(any(step.takes_as(kind, event) for kind in below) for step in naming)


def _arrows(graph: Graph) -> Iterator[tuple[Hashable, Hashable, Label | None]]:
    yield Kind.START, graph.start, None
    drawn = [event for event in graph.types.values() if _is_drawn(event, graph)]
    for step in graph.steps:
        taken = [event for event in drawn if step in graph.accepting_type(event)]
        yield from ((event, step, _taken_label(event, step)) for event in taken)
        yield from ((step, event, _returned_label(event, step)) for event in step.returns)
        if not step.returns:
            yield step, (Kind.DEAD_END, step), None
    yield from ((event, Kind.OUTSIDE, None) for event in _questions(graph))
    yield from ((Kind.OUTSIDE, event, None) for event in answers(graph.steps))
    # A workflow may name a result type that none of its steps returns.
    results = [event for event in graph.results if event in graph.types.values()]
    yield from ((event, Kind.DONE, None) for event in results)


def _questions(graph: Graph) -> list[type[Event]]:
    """Return the event types that ask for an answer from outside."""
    returned = unique(event for step in graph.steps for event in step.returns)
    return [event for event in returned if issubclass(event, InputRequiredEvent)]


def _returned_label(event: type[Event], step: Step) -> Label | None:
    if event not in step.fans_out:
        return None
    return Label("list or one" if event in step.bare else "list", is_list=True)


def _taken_label(event: type[Event], step: Step) -> Label | None:
    if step.collect is not None:
        return Label(counted(step.collect), is_list=True)
    if len(step.slots) == 1:
        return None
    slots = [one for one in step.slots if any(step.takes_as(event, kind) for kind in one.types)]
    return Label(", ".join(slot.parameter for slot in slots))


def counted(collect: Collect) -> str:
    """Return how many members of a list a join waits for: `all`, or `first 3`."""
    match collect.cardinality:
        case Take(n):
            return f"first {n}"
        case _:
            return "all"
