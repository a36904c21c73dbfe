"""
What cannot be replayed: an event from the middle of a run without a context or in a branch of a
fan-out, an unusable context, a copy into a topic of the workflow's own.
"""

from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from fleet.control.replay import joins, selection
from fleet.control.replay.joins import Outlook
from fleet.control.replay.plan import Target
from fleet.control.source import Source
from fleet.kafka import provision
from fleet.records.errors import ExitCode, FleetError
from fleet.records.events import type_name
from fleet.workflow import definition
from fleet.workflow.context_state.leaves import is_part

_EMPTY = "empty"
#: Largest context that runs begin with, in bytes: it travels in the header of each event.
MOST_CONTEXT_BYTES = 100_000


class NotAStart(FleetError):
    """Raised when you replay an event that does not begin runs.

    What to do: Replay the start event of the run, resume failed runs with `fleet dead redrive`, or
    give a context with `--context`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, target: Target) -> None:
        start = type_name(definition.graph(target.workflow).start)
        name = target.name.rpartition(".")[0]
        super().__init__(
            f"nothing was changed: {type_name(target.event)} comes in the middle of a run, and "
            "the context that its steps had kept by then is gone. Replay what the runs began with "
            f"(`fleet replay {name}.{start} --run ID`), resume failed runs where they stopped "
            f"(`fleet dead redrive {name}`), or give the context: `--context FILE`, or `--context "
            "empty` if the steps need nothing from it"
        )


class OnlyABranch(FleetError):
    """Raised when a run that began with the event could only come to a join that never begins.

    What to do: Replay the event whose step fans out, as the message says, or resume failed runs
    with `fleet dead redrive`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, target: Target, outlook: Outlook) -> None:
        graph = definition.graph(target.workflow)
        name = target.name.rpartition(".")[0]
        lost = " and ".join(step.name for step in outlook.lost)
        ways = " or ".join(
            f"`fleet replay {name}.{type_name(event)} --run ID"
            f"{'' if event is graph.start else ' --context ...'}`"
            for event in joins.beginnings(graph, outlook.lost)
        )
        super().__init__(
            f"nothing was changed: {type_name(target.event)} is part of a fan-out, which a new run "
            f"does not have, so {lost} would never fire and the run never end. Replay what the "
            f"fan-out began with ({ways}), or resume failed runs where they stopped "
            f"(`fleet dead redrive {name}`): that runs the branches that are not done"
        )


class UnusableContext(FleetError):
    """Raised when runs cannot begin with the context that you gave.

    What to do: Give a file with one JSON object, or `--context empty`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, given: str, reason: str) -> None:
        super().__init__(
            f"nothing was changed: runs cannot begin with the context in {given!r} ({reason}); "
            'give a file with one JSON object, as {"a": 1, "b": {"c": "x"}}, or `--context empty`'
        )


class NotACopy(FleetError):
    """Raised when events cannot be copied to a topic.

    What to do: Name a topic with `--to-topic` that exists and is not the workflow's own.
    """

    exit_code = ExitCode.REFUSED


def check_event(target: Target, *, with_context: bool) -> Outlook:
    """Return how far runs come that begin with an event; raise OnlyABranch or NotAStart."""
    outlook = joins.outlook(definition.graph(target.workflow), target.event)
    if outlook.is_dead_end and not target.is_start:
        raise OnlyABranch(target, outlook)
    if not (with_context or target.is_start):
        raise NotAStart(target)
    return outlook


def context(given: str) -> dict[str, Any] | None:
    """Return what `--context` names; raises UnusableContext."""
    if given in ("", _EMPTY):
        return {} if given else None
    try:
        found = from_json(Path(given).read_bytes())
    except (OSError, ValueError) as failure:
        raise UnusableContext(given, str(failure)) from None
    if not isinstance(found, dict) or not all(map(is_part, found)):
        raise UnusableContext(given, "it is not a JSON object of names without dots")
    if len(to_json(found)) > MOST_CONTEXT_BYTES:
        raise UnusableContext(given, f"it has over {MOST_CONTEXT_BYTES:,} bytes")
    return found


async def check_copy(source: Source, topic: str) -> None:
    """Raise NotACopy if events cannot be copied to *topic*."""
    if selection.is_own(source, topic):
        raise NotACopy(
            f"nothing was changed: {topic} is a topic of {source.topics.workflow} itself, and "
            "its workers would take the copies for events of its runs; leave --to-topic out to "
            "start new runs"
        )
    if not await provision.partitions(topic, source.settings):
        raise NotACopy(f"nothing was changed: the broker has no topic {topic}; create it first")
