"""
The graph that a workflow's annotations describe: who takes an event, what starts and ends a run.

`checks` says what is wrong with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from pydantic import BaseModel

from fleet.records.events import (
    Event,
    HumanResponseEvent,
    StartEvent,
    StatedResult,
    StopEvent,
    subclasses,
    type_name,
)
from fleet.workflow import levels
from fleet.workflow.context_state import state_models
from fleet.workflow.errors import UnclearEnds
from fleet.workflow.failing import catching
from fleet.workflow.failing.step_failed import StepFailedEvent
from fleet.workflow.steps import Step
from fleet.workflow.versions import former_names

T = TypeVar("T")

_NO_STEPS = (
    "it has no steps; mark its async methods with @step, or add functions with @step(workflow=...)"
)


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
        taking = {type_name(event): self.accepting_type(event) for event in all_types(self.steps)}
        return {name: steps for name, steps in taking.items() if steps}

    @cached_property
    def joins_of(self) -> dict[str, tuple[Step, ...]]:
        """The `list[E]` joins that close the fan-out of a step, by the step's name."""
        return self._by_any_name(levels.joins_of(self.steps))

    @cached_property
    def handler_of(self) -> dict[str, Step]:
        """The step with `@catch_error` that handles the failures of a step, by the step's name."""
        return self._by_any_name(catching.handler_of(self.steps))

    @cached_property
    def state_model(self) -> type[BaseModel] | None:
        """The model of the runs' state; None if no step names one."""
        return state_models.most_derived(step.state_model for step in self.steps)

    @cached_property
    def types(self) -> dict[str, type[Event]]:
        """Every event type of the workflow by name."""
        return {type_name(event): event for event in all_types(self.steps)}

    @cached_property
    def step_by_name(self) -> dict[str, Step]:
        """The steps by name."""
        return {step.name: step for step in self.steps}

    @cached_property
    def step_called(self) -> dict[str, Step]:
        """The steps by each of their names: see `former_names`."""
        return former_names.by_any_name(self.steps)

    @cached_property
    def has_renamed(self) -> bool:
        """Whether some step had another name."""
        return any(step.options.formerly for step in self.steps)

    def log_name(self, step: str) -> str:
        """Return the name by which the log knows a step now, by any name that it has or had."""
        if not self.has_renamed:
            return step
        found = (one.name for one in self.steps if step in one.names)
        return next(found, step)

    def _by_any_name(self, found: dict[str, T]) -> dict[str, T]:
        if not self.has_renamed:
            return found
        names = {name: step.name for step in self.steps for name in step.names}
        return {name: found[known] for name, known in names.items() if known in found}

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
    """Return the graph of workflow *name*, which `checks` has not seen yet.

    *start* and *result* are the types that the workflow names itself; None finds them. Raises
    UnclearEnds if it has no steps, or it is not clear what starts it.
    """
    found = tuple(steps)
    if not found:
        raise UnclearEnds(name, [_NO_STEPS])
    results = _results(found, result)
    try:
        return Graph(found, _start_type(found, start, result), results)
    except _NoStart as unclear:
        raise UnclearEnds(name, [str(unclear), *no_end(found, results)]) from None


def no_end(steps: tuple[Step, ...], results: tuple[type[Event], ...]) -> list[str]:
    """Return the finding, if there is one, that no step returns any of *results*."""
    if {event for step in steps for event in step.returns}.intersection(results):
        return []
    expected = " or ".join(type_name(event) for event in results) or "StopEvent"
    return [f"no step returns {expected}, so no run could end; return it from the last step"]


class _NoStart(Exception):
    """Says that it is not clear what starts a run."""


def _start_type(
    steps: tuple[Step, ...], start: type[Event] | None, result: type[Event] | None
) -> type[Event]:
    accepted = unique(event for step in steps for event in step.accepts)
    consumed = [event for event in accepted if event is not StepFailedEvent]
    if start is not None and start in consumed:
        return start
    if start is not None:
        raise _NoStart(f"no step accepts {type_name(start)}, which starts it; annotate one with it")
    produced = {event for step in steps for event in step.returns}
    marked = [event for event in consumed if issubclass(event, StartEvent)]
    # A step that takes every Event, with subclasses, starts nothing. An answer begins no run.
    begin_nothing = {result, Event, *answers(steps)}
    unsent = [one for one in consumed if one not in produced and one not in begin_nothing]
    candidates = marked or unsent
    if len(candidates) == 1:
        return candidates[0]
    shown = ", ".join(type_name(event) for event in candidates) or "none"
    raise _NoStart(
        f"exactly one event type must start it, found {shown}; annotate one step with a "
        "StartEvent, or set start_event_type on the class"
    )


def _results(steps: tuple[Step, ...], result: type[Event] | None) -> tuple[type[Event], ...]:
    returned = (event for step in steps for event in step.returns if issubclass(event, StopEvent))
    return tuple(unique([*([result] if result is not None else []), *returned]))


def answers(steps: tuple[Step, ...]) -> list[type[Event]]:
    """Return the event types that *steps* take and that come from outside."""
    taken = unique(event for step in steps for event in step.accepts)
    return [event for event in taken if issubclass(event, HumanResponseEvent)]


def all_types(steps: tuple[Step, ...]) -> list[type[Event]]:
    """Return every event type of *steps*, once."""
    return unique(event for step in steps for event in (*step.accepts, *step.returns))


def unique(events: Iterable[type[Event]]) -> list[type[Event]]:
    """Return *events* in their order, without repetitions."""
    return list(dict.fromkeys(events))
