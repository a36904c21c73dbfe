"""What `fleet replay` does: plan, show, ask, send, report; or continue what was stopped."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import click

from fleet.cli.actions import replay_checks
from fleet.cli.shared import consent, counts, loop, output, terminal
from fleet.cli.views import bars
from fleet.config import settings as configuration
from fleet.config.settings import Settings
from fleet.control import audit
from fleet.control.replay import plan as plans
from fleet.control.replay import selection
from fleet.control.replay import sending as replay_sending
from fleet.control.replay.joins import Outlook
from fleet.control.replay.plan import Bounds, Filter, Plan, Target, place
from fleet.control.replay.selection import Found
from fleet.control.replay.sending import ReplayProgress, Sending
from fleet.control.source import Source
from fleet.records.errors import ExitCode, FleetError


class NothingToReplay(FleetError):
    """Raised when none of the events that you chose can be replayed.

    What to do: Read the reasons in the message; choose other events, or correct their class.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, refused: Mapping[str, int]) -> None:
        super().__init__(f"nothing was changed. {' '.join(_left_out(refused))}")


class EventsMissing(FleetError):
    """Raised at the end when some of the events were gone.

    What to do: Raise `FLEET_EVENT_RETENTION` for the future. If events cannot be read, correct
    their class and begin another replay.
    """

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, plan: Plan, count: int) -> None:
        super().__init__(
            f"{count:,} of the {counts.events(plan.total)} counted before could not be sent: they "
            f"are no longer in {plan.topic} (FLEET_EVENT_RETENTION), or cannot be read now. What "
            "retention removed is lost; for the rest, fix the event's class and begin another "
            "replay"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the options of `fleet replay` say."""

    #: `WORKFLOW.EVENT`.
    event: str
    bounds: Bounds
    rules: Filter
    to_topic: str
    #: `empty`, a file's name, or nothing.
    context: str
    max_replays: int
    rate: float | None


def wanted(  # noqa: PLR0913 - by name, each an option
    event: str,
    *,
    since: datetime | None,
    until: datetime | None,
    first: Iterable[str],
    last: Iterable[str],
    limit: int | None,
    where: tuple[str, ...],
    run_ids: tuple[str, ...],
    **options: Any,
) -> Wanted:
    """Return what the options mean; raises UnreadablePlace."""
    starts = tuple(place(text, "--from") for text in first)
    ends = tuple(place(text, "--to") for text in last)
    bounds = Bounds(since, until, starts, ends, limit)
    return Wanted(event=event, bounds=bounds, rules=Filter(where, run_ids), **options)


def begin(wanted: Wanted, reason: str, form: str, *, yes: bool) -> None:
    """Replay what is *wanted* after a question; raise what the exit code needs."""
    settings = configuration.current()
    plan, found = _make(settings, wanted)
    if _preview(plan, found):
        consent.ask(_question(plan), yes=yes)
        _report(plan, loop.run(_begin(settings, plan, reason)), form)


def resume(replay_id: str, rate: float | None, form: str) -> None:
    """Continue a replay that was stopped; raise what the exit code needs."""
    plan, progress = loop.run(_resume(configuration.current(), replay_id, rate))
    _report(plan, progress, form)


def _make(settings: Settings, wanted: Wanted) -> tuple[Plan, Found]:
    """Return the plan for what is *wanted*, and what was found for it."""
    target = plans.target(wanted.event)
    if not wanted.to_topic:
        outlook = replay_checks.check_event(target, with_context=bool(wanted.context))
        _warn(target, outlook)
    plan = Plan(
        id=uuid.uuid4().hex[:12],
        target=wanted.event,
        topic=target.topic(settings),
        spans={},
        rules=wanted.rules,
        to_topic=wanted.to_topic,
        context=replay_checks.context(wanted.context),
        max_replays=wanted.max_replays,
        rate=wanted.rate,
    )
    found = loop.run(_look(settings, target, plan, wanted.bounds))
    spans = {partition: found.spans[partition] for partition in found.counts}
    return replace(plan, spans=spans, counts=dict(found.counts)), found


def _warn(target: Target, outlook: Outlook) -> None:
    """Say which joins do not take part in runs that begin in their middle."""
    if target.is_start:
        return
    for step in outlook.lost:
        terminal.say(f"In such runs {step.name} never fires: the fan-out that it ends is missing.")
    for step, missing in outlook.incomplete:
        terminal.say(
            f"In such runs nothing sends {' or '.join(missing)}, which {step.name} waits for, too."
        )


async def _look(settings: Settings, target: Target, plan: Plan, bounds: Bounds) -> Found:
    source = Source(target.workflow, settings)
    if plan.to_topic:
        await replay_checks.check_copy(source, plan.to_topic)
    with bars.bar() as move:
        return await selection.look(
            source,
            plan,
            bounds,
            selection.selector(plan, target),
            lambda done, total: move(done, total, "looked at"),
        )


async def _begin(settings: Settings, plan: Plan, reason: str) -> ReplayProgress:
    target = plans.target(plan.target)
    sending, progress = await _sending(settings, target, plan)
    async with sending.connected():
        # First the position: so a replay that is in the audit topic always has one.
        await sending.begin()
        await plans.store(settings, plan, target.workflow.workflow_name, reason)
        terminal.say(f"Replay {plan.id}. To continue it if it stops: {replay_sending.resume(plan)}")
        await _send(sending, progress)
    return progress


async def _resume(
    settings: Settings, replay_id: str, rate: float | None
) -> tuple[Plan, ReplayProgress]:
    plan, entry = await plans.find(settings, replay_id)
    plan = replace(plan, rate=rate or plan.rate)
    target = plans.target(plan.target)
    sending, progress = await _sending(settings, target, plan)
    async with sending.connected():
        # Only now: what another process had open has ended.
        await replay_sending.recall(settings, plan, progress)
        selector = selection.selector(plan, target)
        left = await selection.rest(settings, plan, selector, progress.positions)
        _remainder(plan, left)
        if left.total:
            await audit.record(
                settings,
                command=plans.RESUMED,
                workflow=entry.workflow,
                reason=entry.reason,
                details={"id": plan.id, "left": left.total},
            )
            await _send(sending, progress)
    return plan, progress


async def _sending(
    settings: Settings, target: Target, plan: Plan
) -> tuple[Sending, ReplayProgress]:
    partitions = await Source(target.workflow, settings).partitions()
    progress = ReplayProgress(plan.total)
    selector = selection.selector(plan, target)
    return Sending(settings, plan, selector, progress, partitions), progress


async def _send(sending: Sending, progress: ReplayProgress) -> None:
    with bars.bar() as move:
        progress.changed = lambda: move(progress.sent, progress.total, "sent")
        await sending.run()


def _preview(plan: Plan, found: Found) -> bool:
    """Show what becomes of the events and which are left out; return whether any is left.

    Raises NothingToReplay.
    """
    if not found.total and found.refused:
        raise NothingToReplay(found.refused)
    if not found.total:
        terminal.say(f"Nothing to do: none of {counts.events(found.read)} in {plan.topic} matches.")
        return False
    terminal.say(output.plain(_rows(plan.spans, found.counts)))
    terminal.say(f"{counts.events(found.total)} of {plan.topic} {_become(plan, found.total)}.")
    if found.replayed:
        terminal.say(f"{found.replayed:,} of them came from a replay.")
    for line in _left_out(found.refused):
        terminal.say(line)
    return True


def _remainder(plan: Plan, found: Found) -> None:
    """Show how much of a replay is left."""
    terminal.say(
        f"{plan.target}, replay {plan.id}: {found.total:,} of {counts.events(plan.total)} left."
    )


def _question(plan: Plan) -> str:
    """Return the question before the replay."""
    if plan.to_topic:
        return f"Copy {counts.events(plan.total)} to {plan.to_topic}?"
    return f"Start {counts.runs(plan.total)}?"


def _report(plan: Plan, progress: ReplayProgress, form: str) -> None:
    """Print what came of it; raise what the exit code needs."""
    if form == "json":
        output.show_object(
            {
                "replay": plan.id,
                "target": plan.target,
                "to_topic": plan.to_topic or None,
                "events": progress.total,
                "sent": progress.sent,
                "sent_here": progress.sent_here,
                "missing": progress.missing,
                "resume": replay_sending.resume(plan) if progress.interrupted else None,
            }
        )
    done = f"{progress.sent:,} of {counts.events(progress.total)}"
    if progress.interrupted is not None:
        again = replay_sending.resume(plan)
        terminal.say(f"Interrupted: {done} were sent. To continue with the rest:\n  {again}")
        raise click.exceptions.Exit(progress.interrupted.exit_code)
    if plan.to_topic:
        terminal.say(f"{counts.events(progress.sent)} copied to {plan.to_topic}.")
    else:
        terminal.say(
            f"{counts.events(progress.sent)} sent; the runs' ids begin with replay-{plan.id}-"
        )
    if progress.missing:
        raise EventsMissing(plan, progress.missing)


def _rows(
    spans: Mapping[int, tuple[int, int]], found: Mapping[int, int]
) -> list[dict[str, object]]:
    return [
        {"partition": partition, "from": first, "to": end - 1, "events": found[partition]}
        for partition, (first, end) in sorted(spans.items())
        if found.get(partition)
    ]


def _become(plan: Plan, count: int) -> str:
    if plan.to_topic:
        return f"{'is' if count == 1 else 'are'} copied to {plan.to_topic} as they are"
    what = "becomes a new run" if count == 1 else "become new runs"
    inside = ""
    if plan.context is not None:
        kept = ", ".join(sorted(plan.context)) or "nothing"
        inside = f", begun in the middle with {kept} in the context"
    return f"{what} of {plan.target.rpartition('.')[0]}{inside}"


def _left_out(refused: Mapping[str, int]) -> list[str]:
    return [
        f"Left out: {counts.events(count)} that {reason}."
        for reason, count in sorted(refused.items())
    ]
