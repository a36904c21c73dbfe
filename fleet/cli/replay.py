"""`fleet replay`: events that are in the log become new runs, or are copied elsewhere."""

import uuid
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from pydantic_core import from_json, to_json

from fleet.cli.shared import consent, loop, moments, options
from fleet.cli.views import bars
from fleet.cli.views import replay as replay_shown
from fleet.config import settings as configuration
from fleet.config.settings import Settings
from fleet.control import audit, times
from fleet.control.replay import plan as replay_plan
from fleet.control.replay import selection
from fleet.control.replay import sending as replay_sending
from fleet.control.replay.plan import Bounds, Filter, Plan, Target, place
from fleet.control.replay.selection import Found
from fleet.control.replay.sending import Progress, Sending
from fleet.control.source import Source
from fleet.kafka import provision
from fleet.records.errors import ExitCode, FleetError
from fleet.records.events import type_name
from fleet.workflow import definition
from fleet.workflow.store import is_part

_EMPTY = "empty"
#: Largest context that runs begin with, in bytes: it travels in the header of each event.
MOST_CONTEXT_BYTES = 100_000
#: A run that replays its own workflow would else go on for ever.
_MAX_REPLAYS = 5


class NotAStart(FleetError):
    """Raised when an event would be replayed that does not begin runs."""

    exit_code = ExitCode.REFUSED

    def __init__(self, target: Target) -> None:
        start = type_name(definition.graph(target.workflow).start)
        name = target.name.rpartition(".")[0]
        super().__init__(
            f"nothing was changed: {type_name(target.event)} comes in the middle of a run, and "
            "the context that its steps had kept by then is gone. Replay what the runs began with "
            f"(`fleet replay {name}.{start} --run ID`), let runs that failed go on where they "
            f"stopped (`fleet dead redrive {name}`), or say what its context is to be: "
            "`--context FILE`, or `--context empty` if its steps need nothing from it"
        )


class UnusableContext(FleetError):
    """Raised when runs cannot begin with the context that was given."""

    exit_code = ExitCode.REFUSED

    def __init__(self, given: str, reason: str) -> None:
        super().__init__(
            f"nothing was changed: runs cannot begin with the context in {given!r} ({reason}); "
            'give a file with one JSON object, as {"a": 1, "b": {"c": "x"}}, or `--context empty`'
        )


class NotACopy(FleetError):
    """Raised when events cannot be copied to a topic."""

    exit_code = ExitCode.REFUSED


@click.command()
@click.argument("event", required=False, metavar="WORKFLOW.EVENT")
@click.option(
    "--since", type=moments.MOMENT, metavar="WHEN", help=f"From then on: {times.FORMS} (UTC)."
)
@click.option("--until", type=moments.MOMENT, metavar="WHEN", help="What came before then.")
@click.option(
    "--from",
    "first",
    multiple=True,
    metavar="[PARTITION:]OFFSET",
    help="From this offset on; more than once for several partitions, and only those then.",
)
@click.option(
    "--to", "last", multiple=True, metavar="[PARTITION:]OFFSET", help="Up to it, and it, too."
)
@click.option("--run", "run_ids", multiple=True, metavar="ID", help="Only of this run. Repeatable.")
@click.option(
    "--where",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Only with this value in the event, as in customer.country=ES. Repeatable: all must hold.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="At most so many, the oldest first."
)
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Events per second."
)
@click.option(
    "--to-topic", default="", metavar="NAME", help="Copy them there as they are; start no runs."
)
@click.option(
    "--context",
    default="",
    metavar="empty|FILE",
    help="Begin runs in their middle, with this in their context: a JSON object, or nothing.",
)
@click.option(
    "--max-replays",
    type=click.IntRange(min=1),
    default=_MAX_REPLAYS,
    show_default=True,
    metavar="N",
    help="Leave out what came from so many replays in a row.",
)
@click.option("--resume", "resumed", metavar="ID", help="Go on with a replay that was stopped.")
@click.option("--reason", metavar="TEXT", help="Why; it is noted in the audit topic.")
@options.yes
@options.output
@options.as_json
@options.broker
def replay(  # noqa: PLR0913 - click gives each option a parameter
    event: str | None,
    resumed: str | None,
    rate: float | None,
    form: str,
    *,
    reason: str | None,
    yes: bool,
    **chosen: Any,
) -> None:
    """Make new runs of start events that are in the log, or copy events elsewhere.

    WORKFLOW.EVENT is joke.StartEvent or myapp.flows:Hello.StartEvent. Choose events with --since,
    --until, --from, --to, --run, --where or --limit; --from 0 is all that is kept. What is to be
    done is counted and shown first. Each event becomes exactly one run, also when this is killed
    and goes on with --resume, which needs no other option.

    \b
    Exit codes:
      0    all were sent
      2    nothing was changed: nothing can be replayed, or nobody said yes
      3    not all were sent: some are gone, or another process goes on
      4    no broker answers
      130  Ctrl-C: the batch under way is sent; the command that goes on is printed
    """  # noqa: D301 - click's mark for lines that stay as they are
    settings = configuration.current()
    if resumed is not None:
        _check_alone(click.get_current_context())
        plan, progress = loop.run(_resume(settings, resumed, rate))
    else:
        if event is None or reason is None:
            missing = "WORKFLOW.EVENT" if event is None else "--reason"
            raise click.UsageError(f"{missing} is missing; only --resume ID needs neither")
        plan, found = _plan(settings, event, rate, **chosen)
        if not replay_shown.preview(plan, found):
            return
        consent.ask(replay_shown.question(plan), yes=yes)
        progress = loop.run(_begin(settings, plan, reason))
    replay_shown.report(plan, progress, form)


def _check_alone(context: click.Context) -> None:
    """Raise UsageError where an option stands beside --resume that it would not heed."""
    heeded = {"resumed", "rate", "yes", "form"}
    given = [
        parameter.opts[0] if parameter.param_type_name == "option" else "WORKFLOW.EVENT"
        for parameter in context.command.params
        if parameter.name
        and parameter.name not in heeded
        and parameter.expose_value
        and context.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(
            f"--resume does what was begun, so it takes no {', '.join(given)}; only --rate may be "
            "given anew"
        )


def _plan(  # noqa: PLR0913 - by name, each an option
    settings: Settings,
    event: str,
    rate: float | None,
    *,
    since: datetime | None,
    until: datetime | None,
    first: tuple[str, ...],
    last: tuple[str, ...],
    run_ids: tuple[str, ...],
    where: tuple[str, ...],
    limit: int | None,
    to_topic: str,
    context: str,
    max_replays: int,
) -> tuple[Plan, Found]:
    """Return what is to be done, and what was found for it."""
    bounds = Bounds(
        since,
        until,
        tuple(place(each, "--from") for each in first),
        tuple(place(each, "--to") for each in last),
        limit,
    )
    rules = Filter(where, run_ids)
    if not bounds and not where and not run_ids:
        raise click.UsageError(
            "say which events: --since, --until, --from, --to, --run, --where or --limit; "
            "--from 0 is all that is kept"
        )
    target = replay_plan.target(event)
    _check_context(target, context, to_topic)
    plan = Plan(
        id=uuid.uuid4().hex[:12],
        target=event,
        topic=target.topic(settings),
        spans={},
        rules=rules,
        to_topic=to_topic,
        context=_context(context),
        max_replays=max_replays,
        rate=rate,
    )
    found = loop.run(_look(settings, target, plan, bounds))
    spans = {each: found.spans[each] for each in found.counts}
    return replace(plan, spans=spans, counts=dict(found.counts)), found


def _context(given: str) -> dict[str, Any] | None:
    """Return what `--context` names; raises UnusableContext."""
    if given in ("", _EMPTY):
        return {} if given else None
    try:
        found = from_json(Path(given).read_bytes())
    except (OSError, ValueError) as failure:
        raise UnusableContext(given, str(failure)) from None
    if not isinstance(found, dict) or not all(map(is_part, found)):
        raise UnusableContext(given, "it is no JSON object of names without dots")
    if len(to_json(found)) > MOST_CONTEXT_BYTES:
        raise UnusableContext(given, f"it has over {MOST_CONTEXT_BYTES:,} bytes")
    return found


def _check_context(target: Target, context: str, to_topic: str) -> None:
    if to_topic and context:
        raise click.UsageError("--to-topic starts no runs, so it takes no --context")
    if not (to_topic or context or target.is_start):
        raise NotAStart(target)


async def _look(settings: Settings, target: Target, plan: Plan, bounds: Bounds) -> Found:
    source = Source(target.workflow, settings)
    if plan.to_topic:
        await _check_copy(source, plan.to_topic)
    with bars.bar() as move:
        return await selection.look(
            source,
            plan,
            bounds,
            selection.selector(plan, target),
            lambda done, total: move(done, total, "looked at"),
        )


async def _check_copy(source: Source, topic: str) -> None:
    if selection.is_own(source, topic):
        raise NotACopy(
            f"nothing was changed: {topic} is a topic of {source.topics.workflow} itself, where "
            "copies would be taken for its runs' own events; leave --to-topic out to start new runs"
        )
    if not await provision.partitions(topic, source.settings):
        raise NotACopy(
            f"nothing was changed: the broker has no topic {topic}; create it as you want it to be"
        )


async def _begin(settings: Settings, plan: Plan, reason: str) -> Progress:
    """Do what was agreed to, from the beginning."""
    target = replay_plan.target(plan.target)
    sending, progress = await _sending(settings, target, plan)
    async with sending.connected():
        # First the position: so a replay that is in the audit topic always has one.
        await sending.begin()
        await replay_plan.store(settings, plan, target.workflow.workflow_name, reason)
        replay_shown.say(f"Replay {plan.id}. If it is stopped: {replay_sending.resume(plan)}")
        await _send(sending, progress)
    return progress


async def _resume(settings: Settings, replay_id: str, rate: float | None) -> tuple[Plan, Progress]:
    """Go on where a replay was stopped."""
    plan, entry = await replay_plan.find(settings, replay_id)
    plan = replace(plan, rate=rate or plan.rate)
    target = replay_plan.target(plan.target)
    sending, progress = await _sending(settings, target, plan)
    async with sending.connected():
        # Only now: what another process had open has ended.
        await replay_sending.recall(settings, plan, progress)
        selector = selection.selector(plan, target)
        left = await selection.rest(settings, plan, selector, progress.positions)
        replay_shown.remainder(plan, left)
        if left.total:
            await audit.record(
                settings,
                command=replay_plan.RESUMED,
                workflow=entry.workflow,
                reason=entry.reason,
                details={"id": plan.id, "left": left.total},
            )
            await _send(sending, progress)
    return plan, progress


async def _sending(settings: Settings, target: Target, plan: Plan) -> tuple[Sending, Progress]:
    partitions = await Source(target.workflow, settings).partitions()
    progress = Progress(plan.total)
    selector = selection.selector(plan, target)
    return Sending(settings, plan, selector, progress, partitions), progress


async def _send(sending: Sending, progress: Progress) -> None:
    with bars.bar() as move:
        progress.changed = lambda: move(progress.sent, progress.total, "sent")
        await sending.run()
