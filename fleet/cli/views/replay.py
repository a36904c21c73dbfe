"""What `fleet replay` shows before it does anything, and what it tells in the end."""

from collections.abc import Mapping

import click

from fleet.cli.shared import output, terminal
from fleet.control.replay.plan import Plan
from fleet.control.replay.selection import Found
from fleet.control.replay.sending import Progress, resume
from fleet.records.errors import ExitCode, FleetError


class NothingToReplay(FleetError):
    """Raised when none of the events that are meant can be replayed."""

    exit_code = ExitCode.REFUSED

    def __init__(self, refused: Mapping[str, int]) -> None:
        super().__init__(f"nothing was changed. {' '.join(_left_out(refused))}")


class EventsMissing(FleetError):
    """Raised when not all events were there to be sent."""

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, plan: Plan, count: int) -> None:
        super().__init__(
            f"{count:,} of the {_count(plan.total, 'event')} that were counted before could not be "
            f"sent: they are no longer in {plan.topic} (FLEET_EVENT_RETENTION), or cannot be read "
            "now. Nothing can bring the former back; for the latter mend the event's class, and "
            "begin another replay"
        )


def preview(plan: Plan, found: Found) -> bool:
    """Show what is to be done and what cannot be; return whether anything is.

    Raises NothingToReplay where there should be.
    """
    if not found.total and found.refused:
        raise NothingToReplay(found.refused)
    if not found.total:
        say(f"Nothing to do: none of {_count(found.read, 'event')} in {plan.topic} matches.")
        return False
    say(output.plain(_rows(plan.spans, found.counts)))
    say(f"{_count(found.total, 'event')} of {plan.topic} {_become(plan, found.total)}.")
    if found.replayed:
        say(f"{found.replayed:,} of them came from a replay.")
    for line in _left_out(found.refused):
        say(line)
    return True


def remainder(plan: Plan, found: Found) -> None:
    """Show what of a replay is left."""
    say(f"{plan.target}, replay {plan.id}: {found.total:,} of {_count(plan.total, 'event')} left.")


def question(plan: Plan) -> str:
    """Return what is asked."""
    if plan.to_topic:
        return f"Copy {_count(plan.total, 'event')} to {plan.to_topic}?"
    return f"Start {_count(plan.total, 'run')}?"


def report(plan: Plan, progress: Progress, form: str) -> None:
    """Tell what came of it; raise what the exit code needs."""
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
                "resume": resume(plan) if progress.interrupted else None,
            }
        )
    done = f"{progress.sent:,} of {_count(progress.total, 'event')}"
    if progress.interrupted is not None:
        say(f"Interrupted: {done} were sent. To go on with the rest:\n  {resume(plan)}")
        raise click.exceptions.Exit(progress.interrupted.exit_code)
    if plan.to_topic:
        say(f"{_count(progress.sent, 'event')} copied to {plan.to_topic}.")
    else:
        say(f"{_count(progress.sent, 'event')} sent; the runs' ids begin with replay-{plan.id}-")
    if progress.missing:
        raise EventsMissing(plan, progress.missing)


def say(words: str) -> None:
    """Tell it on stderr."""
    terminal.echo(words, err=True)


def _rows(
    spans: Mapping[int, tuple[int, int]], counts: Mapping[int, int]
) -> list[dict[str, object]]:
    return [
        {"partition": each, "from": first, "to": end - 1, "events": counts[each]}
        for each, (first, end) in sorted(spans.items())
        if counts.get(each)
    ]


def _become(plan: Plan, count: int) -> str:
    if plan.to_topic:
        return f"{'is' if count == 1 else 'are'} copied to {plan.to_topic} as they are"
    what = "becomes a new run" if count == 1 else "become new runs"
    where = ""
    if plan.context is not None:
        kept = ", ".join(sorted(plan.context)) or "nothing"
        where = f", begun in the middle with {kept} in the context"
    return f"{what} of {plan.target.rpartition('.')[0]}{where}"


def _left_out(refused: Mapping[str, int]) -> list[str]:
    return [
        f"Left out: {_count(count, 'event')} that {reason}."
        for reason, count in sorted(refused.items())
    ]


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
