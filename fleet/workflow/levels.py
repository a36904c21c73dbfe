"""
Which joins belong to which fan-out.

An attempt that returns a list opens a level: the members and every event that follows from them
step by step. A step that takes `list[E]` closes the level, and what it returns is one level up. A
fan-out inside the level opens one below, of which only the returns of its joins come back up.

A handler (`@catch_error`) gives what the failed step would have given. So what it returns adds no
type to a level: a handler of steps in several levels returns events of each.
"""

from collections.abc import Iterable

from fleet.records.events import Event
from fleet.workflow.steps import Step

Types = set[type[Event]]


def joins_of(steps: Iterable[Step]) -> dict[str, tuple[Step, ...]]:
    """Return, for each step that fans out, the `list[E]` joins that close its level."""
    levels = _Levels(tuple(steps))
    return {step.name: levels.joins(levels.of_members(step)) for step in levels.producers}


def by_producer(steps: Iterable[Step]) -> dict[str, Types]:
    """Return, for each step that fans out, the event types in the level that it opens."""
    levels = _Levels(tuple(steps))
    return {step.name: levels.of_members(step) for step in levels.producers}


def at(steps: Iterable[Step], first: Iterable[type[Event]]) -> Types:
    """Return the event types in the level of the events *first*."""
    return _Levels(tuple(steps)).following(first, frozenset())


class _Levels:
    def __init__(self, steps: tuple[Step, ...]) -> None:
        self._steps = steps
        self.producers = [step for step in steps if step.fans_out]
        self._collecting = [step for step in steps if step.collect is not None]

    def joins(self, level: Types) -> tuple[Step, ...]:
        """Return the joins that take something of a level."""
        return tuple(join for join in self._collecting if any(map(join.takes, level)))

    def of_members(self, producer: Step, inside: frozenset[str] = frozenset()) -> Types:
        """Return the level that *producer* opens; *inside* are the fan-outs around it."""
        return self.following(producer.fans_out, inside | {producer.name})

    def following(self, first: Iterable[type[Event]], inside: frozenset[str]) -> Types:
        """Return *first* and what follows without leaving their level."""
        level: Types = set()
        to_see = list(first)
        while to_see:
            event = to_see.pop()
            if event in level:
                continue
            level.add(event)
            for step in self._steps:
                if step.collect is None and step.takes(event):
                    to_see += self._given_back(step, inside)
        return level

    def _given_back(self, step: Step, inside: frozenset[str]) -> Types:
        """Return what *step* adds to the level in which it begins."""
        given = set(step.bare)
        # Not again for a fan-out that we are inside of: its level would hold itself.
        if step.fans_out and step.name not in inside:
            for join in self.joins(self.of_members(step, inside)):
                given |= self._given_back(join, inside | {step.name})
        return given
