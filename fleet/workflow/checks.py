"""
What can be wrong with a workflow's graph.

All findings are reported at once, each with the step, the event and what to do. Three checks can be
skipped, for a step or for a workflow: their names begin the finding.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from fleet.records.events import Event, InputRequiredEvent, StopEvent, promise, type_name
from fleet.workflow import levels
from fleet.workflow.context_state import state_models
from fleet.workflow.errors import BadOption
from fleet.workflow.failing import catching
from fleet.workflow.failing.step_failed import StepFailedEvent
from fleet.workflow.graph import Graph, all_types, answers, no_end, unique
from fleet.workflow.steps import Slot, Step
from fleet.workflow.versions import former_names

#: A step that nothing in the graph leads to: something from outside may.
REACHABILITY = "reachability"
#: An event that no step takes: the caller may want to see that it was returned.
TERMINAL_EVENT = "terminal_event"
#: A step from which no way leads to a result: another branch may end the run.
DEAD_END = "dead_end"
CHECKS = frozenset({REACHABILITY, TERMINAL_EVENT, DEAD_END})

#: A workflow's other topics have these names in place of an event type's.
RESERVED_TYPE_NAMES = frozenset({"runs", "history", "inbox", "stream", "context", "scopes"})
#: What a topic name allows there: Python allows more letters.
_LEGAL_NAME = re.compile(r"[a-zA-Z0-9_]{1,100}")

Skips = frozenset[str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    text: str
    #: The check that it can be skipped with; "" if it cannot.
    check: str = ""
    #: The step that may skip it.
    step: Step | None = None

    def __str__(self) -> str:
        return f"[{self.check}] {self.text}" if self.check else self.text

    def is_skipped(self, skips: Skips) -> bool:
        """Tell whether the workflow, with *skips*, or the step skips its check."""
        of_step = self.step.options.skip_graph_checks if self.step is not None else ()
        return self.check in skips or self.check in of_step


def names(given: Collection[str] | None, where: str) -> Skips:
    """Return *given* as names of checks; raise BadOption if one is no such name."""
    if isinstance(given, str) or not all(isinstance(name, str) for name in given or ()):
        raise BadOption(f"{where} takes names of checks, such as {[REACHABILITY]!r}, not {given!r}")
    skips = frozenset(given or ())
    if unknown := sorted(skips - CHECKS):
        raise BadOption(
            f"{where} knows no check {', '.join(map(repr, unknown))}; the checks are "
            f"{', '.join(sorted(CHECKS))}"
        )
    return skips


def findings(graph: Graph, skips: Skips) -> list[str]:
    """Return what is wrong with *graph*, without what the workflow or a step skips."""
    return [str(finding) for finding in _all(graph) if not finding.is_skipped(skips)]


def _all(graph: Graph) -> Iterator[Finding]:
    for text in (*_names(graph), *_fields(graph), *_state(graph), *_results(graph)):
        yield Finding(text)
    for text in (*former_names.findings(graph.steps), *catching.findings(graph.steps)):
        yield Finding(text)
    yield from _unsent(graph)
    yield from _untaken(graph)
    for text in (*_unlisted(graph), *_apart(graph)):
        yield Finding(text)
    yield from _unreachable(graph)
    yield from _dead_ends(graph)


# -- types ----------------------------------------------------------------------------------------


def _names(graph: Graph) -> Iterator[str]:
    known: dict[str, type[Event]] = {}
    for event in all_types(graph.steps):
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
    for event in unique([graph.start, *all_types(graph.steps), *graph.results]):
        yield from promise(event).findings


def _state(graph: Graph) -> Iterator[str]:
    return state_models.findings({step.shown: step.state_model for step in graph.steps})


def _results(graph: Graph) -> Iterator[str]:
    for step in graph.steps:
        for event in step.accepts:
            if event in graph.results or issubclass(event, StopEvent):
                yield f"step {step.shown} accepts {type_name(event)}, which ends the run; remove it"
    yield from no_end(graph.steps, graph.results)


# -- events between steps -------------------------------------------------------------------------


def _unsent(graph: Graph) -> Iterator[Finding]:
    for step in graph.steps:
        for event in _unsent_of(step, graph):
            way = (
                "mark it with @catch_error in the place of @step"
                if event is StepFailedEvent
                else "add it to the return type of the step that sends it"
            )
            text = f"step {step.shown} accepts {type_name(event)}, which no step returns; {way}"
            yield Finding(text, REACHABILITY, step)


def _unsent_of(step: Step, graph: Graph) -> list[type[Event]]:
    if step.options.catches is not None:
        # The engine sends it.
        return []
    returned = (event for other in graph.steps for event in other.returns)
    produced = [graph.start, *answers(graph.steps), *returned]
    sent = {event for event in step.accepts if any(step.takes_as(one, event) for one in produced)}
    return [event for event in step.accepts if event not in sent]


def _untaken(graph: Graph) -> Iterator[Finding]:
    for step in graph.steps:
        for event in step.returns:
            if _is_taken(event, graph):
                continue
            text = (
                f"step {step.shown} returns {type_name(event)}, which no step accepts; "
                f"{_of_base(event, graph)}add a step that takes it, or return {_a_result(graph)}"
            )
            yield Finding(text, TERMINAL_EVENT, step)


def _is_taken(event: type[Event], graph: Graph) -> bool:
    # A question goes to the stream.
    is_question = issubclass(event, InputRequiredEvent)
    return is_question or event in graph.results or bool(graph.accepting_type(event))


def _of_base(event: type[Event], graph: Graph) -> str:
    """Return what to do if a step accepts a base of *event*, as the beginning of an advice."""
    for step in graph.steps:
        if issubclass(event, step.accepts):
            return f"let step {step.shown} take it with @step(accept_event_subclasses=True), "
    return ""


def _unreachable(graph: Graph) -> Iterator[Finding]:
    reached = _closure({graph.start, *answers(graph.steps)}, graph)
    yield from _idle_handlers(graph)
    for step in graph.steps:
        if step.options.catches is not None:
            continue
        # Said already, if no step returns anything that it accepts.
        if _can_begin(step, reached) or len(_unsent_of(step, graph)) == len(step.accepts):
            continue
        missing = (one for one in step.slots if not _fills(one, step, reached))
        accepted = ", ".join(type_name(event) for slot in missing for event in slot.types)
        text = (
            f"step {step.shown} can never run: nothing that follows {type_name(graph.start)} gives "
            f"{accepted}; return it from a step that runs, or remove {step.shown}"
        )
        yield Finding(text, REACHABILITY, step)


def _idle_handlers(graph: Graph) -> Iterator[Finding]:
    for handler in catching.handlers(graph.steps):
        named = handler.options.catches.for_steps if handler.options.catches else None
        if named == ():
            text = (
                f"handler {handler.name} can never run: its for_steps is empty; name steps, or "
                "leave for_steps out for all that have no other handler"
            )
            yield Finding(text, REACHABILITY, handler)


def _closure(reached: set[type[Event]], graph: Graph) -> set[type[Event]]:
    while True:
        begins = [step for step in graph.steps if _can_begin(step, reached)]
        handlers = (graph.handler_of[step.name] for step in begins if step.name in graph.handler_of)
        more = {event for step in (*begins, *handlers) for event in step.returns} - reached
        if not more:
            return reached
        reached = reached | more


def _can_begin(step: Step, reached: set[type[Event]]) -> bool:
    return all(_fills(slot, step, reached) for slot in step.slots)


def _fills(slot: Slot, step: Step, reached: set[type[Event]]) -> bool:
    return any(step.takes_as(event, kind) for event in reached for kind in slot.types)


def _dead_ends(graph: Graph) -> Iterator[Finding]:
    ending = _ending(graph)
    for step in graph.steps:
        if not step.returns or ending.intersection(step.returns):
            continue
        # Said already, if no step takes anything that it returns.
        if not any(_is_taken(event, graph) for event in step.returns):
            continue
        returned = ", ".join(type_name(event) for event in step.returns)
        text = (
            f"step {step.shown} leads nowhere: {returned} never reaches {_a_result(graph)}; return "
            f"{_a_result(graph)} from it, or from a step that follows it"
        )
        yield Finding(text, DEAD_END, step)


def _ending(graph: Graph) -> set[type[Event]]:
    """Return the event types from which a way leads to a result, or to the end of the branch."""
    every = all_types(graph.steps)
    questions = (event for event in every if issubclass(event, InputRequiredEvent))
    ending: set[type[Event]] = {*graph.results, *questions}
    while True:
        ended = [one for one in graph.steps if not one.returns or ending.intersection(one.returns)]
        more = {event for step in ended for event in every if step.takes(event)} - ending
        if not more:
            return ending
        ending |= more


def _a_result(graph: Graph) -> str:
    return type_name(graph.results[0]) if graph.results else "StopEvent"


# -- joins ----------------------------------------------------------------------------------------


def _unlisted(graph: Graph) -> Iterator[str]:
    """Yield the lists that no fan-out fills."""
    opened = levels.by_producer(graph.steps).values()
    for step in graph.steps:
        if step.collect is None:
            continue
        inside = [event for level in opened for event in level]
        unsent = _unsent_of(step, graph)
        for event in step.accepts:
            if event not in unsent and not any(step.takes_as(one, event) for one in inside):
                yield (
                    f"step {step.shown} collects list[{type_name(event)}], and no step that "
                    f"returns a list leads to {type_name(event)}; return `list[...]` from the step "
                    f"that fans out, or take single events, `ev: {type_name(event)}`, and collect "
                    "them with ctx.collect_events"
                )


def _apart(graph: Graph) -> Iterator[str]:
    """Yield the joins of several parameters whose events never meet."""
    outside = [event for step in graph.steps for event in _unsent_of(step, graph)]
    first = [graph.start, *answers(graph.steps), *outside]
    level_of = {"outside of any list": levels.at(graph.steps, first)}
    for producer, level in levels.by_producer(graph.steps).items():
        level_of[f"in the list of step {producer}"] = level
    for step in graph.steps:
        if len(step.slots) > 1 and not any(_meet(step, level) for level in level_of.values()):
            yield (
                f"step {step.shown} joins {_and(step)}, which never meet: "
                f"{'; '.join(_place(step, event, level_of) for event in step.accepts)}; take "
                "events of one fan-out, or all from outside of it"
            )


def _meet(step: Step, level: set[type[Event]]) -> bool:
    return all(any(step.takes_as(one, event) for one in level) for event in step.accepts)


def _and(step: Step) -> str:
    return " and ".join(f"{slot.parameter}: {type_name(slot.types[0])}" for slot in step.slots)


def _place(step: Step, event: type[Event], level_of: dict[str, set[type[Event]]]) -> str:
    places = [
        place
        for place, level in level_of.items()
        if any(step.takes_as(one, event) for one in level)
    ]
    return f"{type_name(event)} comes {' and '.join(places) or 'nowhere'}"
