"""
The graph that a workflow's annotations describe, checked before anything runs.

All findings are reported at once, each with the step, the event and what to do.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel

from fleet.records.events import (
    Event,
    StartEvent,
    StatedResult,
    StopEvent,
    promise,
    type_name,
)
from fleet.workflow import levels
from fleet.workflow.context_state import state_models
from fleet.workflow.errors import WorkflowValidationError
from fleet.workflow.steps import Step

#: A workflow's other topics have these names in place of an event type's.
RESERVED_TYPE_NAMES = frozenset({"runs", "history", "inbox", "stream", "context", "scopes"})
#: What a topic name allows there: Python allows more letters, and generic models brackets.
_LEGAL_NAME = re.compile(r"[a-zA-Z0-9_]{1,100}")


@dataclass(frozen=True)
class Graph:
    """Steps and the events between them."""

    steps: tuple[Step, ...]
    start: type[Event]
    #: Result event types: StopEvent, its subclasses and `result_event_type`.
    results: tuple[type[Event], ...]
    #: What the workflow says of a plain StopEvent's `.result`; None if it says nothing.
    result: StatedResult | None = None

    @cached_property
    def accepting(self) -> dict[str, tuple[Step, ...]]:
        """The steps that take an event type, by the type's name; no key if there is none."""
        taking = {type_name(event): self.accepting_type(event) for event in _all_types(self.steps)}
        return {name: steps for name, steps in taking.items() if steps}

    @cached_property
    def joins_of(self) -> dict[str, tuple[Step, ...]]:
        """The `list[E]` joins that close the fan-out of a step, by the step's name."""
        return levels.joins_of(self.steps)

    @cached_property
    def state_model(self) -> type[BaseModel] | None:
        """The model of the runs' state; None if no step names one."""
        return state_models.most_derived(step.state_model for step in self.steps)

    @cached_property
    def types(self) -> dict[str, type[Event]]:
        """Every event type of the workflow by name."""
        return {type_name(event): event for event in _all_types(self.steps)}

    @cached_property
    def step_by_name(self) -> dict[str, Step]:
        """The steps by name."""
        return {step.name: step for step in self.steps}

    def accepting_type(self, event_type: type[Event]) -> tuple[Step, ...]:
        """Return the steps that take an event type, also one that no step names."""
        if event_type in self.results:
            return tuple(step for step in self.steps if event_type in step.accepts)
        return tuple(step for step in self.steps if step.takes(event_type))

    def accepting_called(self, name: str) -> tuple[Step, ...]:
        """Return the steps that take the event type of a name."""
        accepting = self.accepting.get(name)
        if accepting is None:
            event_type = None if name in self.types else self.type_called(name)
            accepting = self.accepting_type(event_type) if event_type is not None else ()
        return accepting

    def type_called(self, name: str) -> type[Event] | None:
        """Return an event type by its name, also one that no step names but some step takes.

        Of several with one name, the newest.
        """
        known = self.types.get(name)
        if known is None and name not in self._unnamed:
            bases = [step.accepts for step in self.steps if step.options.accept_event_subclasses]
            below = [kind for base in bases for one in base for kind in subclasses(one)]
            self._unnamed.update((name, kind) for kind in below if type_name(kind) == name)
        return known or self._unnamed.get(name)

    @cached_property
    def _unnamed(self) -> dict[str, type[Event]]:
        """Types that were found by `type_called`."""
        return {}

    def is_result(self, event: Event) -> bool:
        """Tell whether *event* ends the run."""
        return isinstance(event, StopEvent) or type(event) in self.results


def build(
    name: str,
    steps: Iterable[Step],
    start: type[Event] | None,
    result: type[Event] | None,
) -> Graph:
    """Build and check the graph of workflow *name*.

    *start* and *result* are the types that the workflow names itself; None finds them.
    Raises WorkflowValidationError with every finding.
    """
    found = tuple(steps)
    if not found:
        raise WorkflowValidationError(name, ["it has no steps; mark its async methods with @step"])
    started = _start_type(name, found, start, result)
    graph = Graph(found, started, _results(found, result))
    findings = list(_findings(graph))
    if findings:
        raise WorkflowValidationError(name, findings)
    return graph


def _start_type(
    name: str, steps: tuple[Step, ...], start: type[Event] | None, result: type[Event] | None
) -> type[Event]:
    consumed = _unique(event for step in steps for event in step.accepts)
    if start is not None and start in consumed:
        return start
    if start is not None:
        finding = f"no step accepts {type_name(start)}, which starts it; annotate one with it"
        raise WorkflowValidationError(name, [finding])
    produced = {event for step in steps for event in step.returns}
    marked = [event for event in consumed if issubclass(event, StartEvent)]
    unsent = [event for event in consumed if event not in produced and event is not result]
    candidates = marked or unsent
    if len(candidates) == 1:
        return candidates[0]
    shown = ", ".join(type_name(event) for event in candidates) or "none"
    finding = (
        f"exactly one event type must start it, found {shown}; annotate one step with a "
        "StartEvent, or set start_event_type on the class"
    )
    raise WorkflowValidationError(name, [finding])


def _results(steps: tuple[Step, ...], result: type[Event] | None) -> tuple[type[Event], ...]:
    returned = (event for step in steps for event in step.returns if issubclass(event, StopEvent))
    return tuple(_unique([*([result] if result is not None else []), *returned]))


def _findings(graph: Graph) -> Iterator[str]:
    yield from _names(graph)
    yield from _fields(graph)
    yield from state_models.findings({step.name: step.state_model for step in graph.steps})
    yield from _result_findings(graph)
    yield from _unmatched(graph)
    yield from _unreachable(graph)
    yield from _dead_ends(graph)


def _names(graph: Graph) -> Iterator[str]:
    known: dict[str, type[Event]] = {}
    for event in _all_types(graph.steps):
        other = known.setdefault(type_name(event), event)
        if other is not event:
            yield (
                f"two event types are called {type_name(event)} ({other.__module__} and "
                f"{event.__module__}); rename one"
            )
        if not _LEGAL_NAME.fullmatch(type_name(event)):
            yield (
                f"{type_name(event)!r} cannot be the name of an event type: it is part of a topic "
                "name, so use up to 100 letters a to z, digits and '_'"
            )
        if type_name(event) in RESERVED_TYPE_NAMES:
            yield f"no event type may be called {type_name(event)}; rename it"


def _fields(graph: Graph) -> Iterator[str]:
    for event in _unique([graph.start, *_all_types(graph.steps), *graph.results]):
        yield from promise(event).findings


def _result_findings(graph: Graph) -> Iterator[str]:
    for step in graph.steps:
        for event in step.accepts:
            if event in graph.results or issubclass(event, StopEvent):
                yield f"step {step.name} accepts {type_name(event)}, which ends the run; remove it"
    returned = {event for step in graph.steps for event in step.returns}
    if not returned.intersection(graph.results):
        expected = " or ".join(type_name(event) for event in graph.results) or "StopEvent"
        yield f"no step returns {expected}, so no run could end; return it from the last step"


def _unmatched(graph: Graph) -> Iterator[str]:
    produced = {event for step in graph.steps for event in step.returns} | {graph.start}
    for step in graph.steps:
        for event in step.accepts:
            if not any(step.takes_as(given, event) for given in produced):
                yield (
                    f"step {step.name} accepts {type_name(event)}, which no step returns; "
                    "add it to the return type of the step that sends it"
                )
        for event in step.returns:
            if event not in graph.results and not graph.accepting_type(event):
                yield (
                    f"step {step.name} returns {type_name(event)}, which no step accepts; "
                    f"add a step that takes it, or return {_a_result(graph)}"
                )


def _unreachable(graph: Graph) -> Iterator[str]:
    reached = _closure({graph.start}, graph.steps)
    for step in graph.steps:
        if not any(map(step.takes, reached)):
            accepted = ", ".join(type_name(event) for event in step.accepts)
            yield (
                f"[reachability] step {step.name} can never run: nothing that follows "
                f"{type_name(graph.start)} gives {accepted}"
            )


def _dead_ends(graph: Graph) -> Iterator[str]:
    ending: set[type[Event]] = set(graph.results)
    every = _all_types(graph.steps)
    while True:
        more = {
            event
            for step in graph.steps
            if not step.returns or ending.intersection(step.returns)
            for event in every
            if step.takes(event)
        } - ending
        if not more:
            break
        ending |= more
    for step in graph.steps:
        if step.returns and not ending.intersection(step.returns):
            yield (
                f"[dead_end] step {step.name} leads nowhere: no event that it returns ever "
                f"reaches {_a_result(graph)}"
            )


def _closure(reached: set[type[Event]], steps: tuple[Step, ...]) -> set[type[Event]]:
    while True:
        more = {
            event for step in steps if any(map(step.takes, reached)) for event in step.returns
        } - reached
        if not more:
            return reached
        reached = reached | more


def _a_result(graph: Graph) -> str:
    return type_name(graph.results[0]) if graph.results else "StopEvent"


def subclasses(kind: type[Event]) -> Iterator[type[Event]]:
    """Yield every class below *kind*."""
    for below in kind.__subclasses__():
        yield below
        yield from subclasses(below)


def _all_types(steps: tuple[Step, ...]) -> list[type[Event]]:
    return _unique(event for step in steps for event in (*step.accepts, *step.returns))


def _unique(events: Iterable[type[Event]]) -> list[type[Event]]:
    return list(dict.fromkeys(events))
