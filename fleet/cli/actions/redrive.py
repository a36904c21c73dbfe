"""What `fleet dead redrive` does: choose runs, show them, request, resume them, report."""

from collections.abc import Iterable
from dataclasses import dataclass

import click

from fleet.cli.actions.dead import chosen, source
from fleet.cli.shared import consent, counts, loop, output, terminal
from fleet.cli.views import bars, dead
from fleet.control import audit
from fleet.control.dead import letters as dead_letters
from fleet.control.dead import redrive as redriving
from fleet.control.dead import topic
from fleet.control.dead.letters import Filter
from fleet.control.dead.redrive import RedriveOptions, RedriveProgress
from fleet.control.dead.topic import Found
from fleet.control.source import Source
from fleet.records import printable
from fleet.records.errors import ExitCode, FleetError

__all__ = ["How", "chosen", "redrive", "source"]

#: Run ids that an audit record has.
_AUDITED = 1_000
#: Refusals that are listed.
_NAMED = 20


class NothingToRedrive(FleetError):
    """Raised when you chose letters and none of their runs can be resumed.

    What to do: Read the reasons in the message; `fleet dead show` has the whole letter.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(f"nothing was changed. {' '.join(reasons)}")


class LettersMissing(FleetError):
    """Raised when letters that you named do not exist, or the filters leave them out.

    What to do: Look at `fleet dead list`, and name letters that it shows.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, places: Iterable[tuple[int, int]]) -> None:
        named = ", ".join(f"{partition}:{offset}" for partition, offset in places)
        super().__init__(
            f"nothing was changed: no dead letter is at {named}, or your filters leave it out; "
            "`fleet dead list` shows the letters"
        )


class NoWorkerAnswered(FleetError):
    """Raised when no worker has answered requests to resume runs.

    What to do: Start a worker: the requests stay in the log, and it answers them. Asking again does
    no harm.
    """

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, progress: RedriveProgress, workflow: str, seconds: float) -> None:
        open_ones = progress.total - progress.answered
        super().__init__(
            f"no worker of {workflow} answered for {seconds:g} s, and {open_ones:,} of "
            f"{progress.total:,} requests are open. They stay in the log, and a worker answers "
            "them when it runs; repeating the command does no harm"
        )


class SomeRefused(FleetError):
    """Raised at the end when some runs were not resumed.

    What to do: Read the workers' reasons in the message. The other runs are resumed.
    """

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, progress: RedriveProgress) -> None:
        told = [
            f"{printable.line(run_id)}: {printable.line(why)}"
            for run_id, why in progress.refused.items()
        ]
        more = f"\n  and {len(told) - _NAMED:,} more" if len(told) > _NAMED else ""
        listed = "".join(f"\n  {line}" for line in told[:_NAMED])
        super().__init__(
            f"{progress.resumed:,} of {counts.runs(progress.total)} resumed; the workers refused "
            f"{len(told):,}:{listed}{more}"
        )


class SomeEndedBadly(FleetError):
    """Raised at the end when runs that were resumed ended again without a result.

    What to do: Look at `fleet dead list` for what failed this time.
    """

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, outcomes: str) -> None:
        super().__init__(f"not all have a result now: {outcomes}; see `fleet dead list`")


@dataclass(frozen=True, slots=True)
class How:
    """What the options say of how to resume runs; see `RedriveOptions`."""

    reason: str
    #: At most this many runs.
    limit: int | None
    rate: float | None
    patience_seconds: float
    wait: bool
    fresh: bool

    def options(self, found: Found) -> RedriveOptions:
        """Return what to do about the letters that were *found*."""
        return RedriveOptions(
            requests=dead_letters.requests(found.statuses, self.limit),
            following=dead_letters.under_way(found.statuses) if self.wait else [],
            reason=self.reason,
            rate=self.rate,
            patience_seconds=self.patience_seconds,
            wait=self.wait,
            fresh=self.fresh,
        )


def redrive(source: Source, wanted: Filter, how: How, form: str, *, yes: bool) -> None:
    """Resume the runs of the letters that are *wanted*; raise what the exit code needs."""
    found = loop.run(topic.look(source, wanted))
    options = how.options(found)
    _check_named(found, wanted)
    if _preview(found, options):
        consent.ask(f"Resume {counts.runs(len(options.requests))}?", yes=yes)
    progress = RedriveProgress()
    if options.requests or options.following:
        loop.run(_redrive(source, found, options, progress))
    _report(source, options, progress, form)


async def _redrive(
    source: Source, found: Found, options: RedriveOptions, progress: RedriveProgress
) -> None:
    if options.requests:
        await _audit(source, options)
    with bars.bar() as move:
        progress.changed = lambda: move(*_position(progress, options))
        await redriving.run(source, found, options, progress)


async def _audit(source: Source, options: RedriveOptions) -> None:
    ids = [request.run_id for request in options.requests]
    await audit.record(
        source.settings,
        command="dead redrive",
        workflow=source.workflow.workflow_name,
        reason=options.reason,
        details={
            "group": source.topics.group,
            "letters": sum(len(request.letters) for request in options.requests),
            "runs": len(ids),
            "fresh": options.fresh,
            "run_ids": ids[:_AUDITED],
        },
    )


def _position(progress: RedriveProgress, options: RedriveOptions) -> tuple[int, int, str]:
    if options.wait and progress.answered == progress.total:
        return progress.ended, progress.resumed, "ended"
    if progress.sent < len(options.requests):
        return progress.sent, len(options.requests), "asked"
    return progress.answered, progress.total, "answered"


def _preview(found: Found, options: RedriveOptions) -> bool:
    """Show what can be resumed and what cannot; return whether there is something to resume.

    Raises NothingToRedrive.
    """
    refused = dead_letters.refused(found.statuses)
    told = dead.refused_lines(refused)
    if not options.requests and not all(refusal.done for refusal in refused):
        raise NothingToRedrive(told)
    if options.requests:
        terminal.say(output.plain(dead.preview_rows(options.requests)))
        letters = sum(len(request.letters) for request in options.requests)
        terminal.say(
            f"{counts.runs(len(options.requests))} to resume, for {counts.letters(letters)}."
        )
    for line in told:
        terminal.say(line)
    if options.following:
        terminal.say(f"Waiting for {counts.runs(len(options.following))} resumed before, too.")
    elif not options.requests:
        terminal.say("Nothing to do." if told else "Nothing to do: no dead letter matches.")
    return bool(options.requests)


def _check_named(found: Found, wanted: Filter) -> None:
    """Raise LettersMissing if a letter that you named is not among those found."""
    letters = (status.letter for status in found.statuses)
    there = {(letter.partition, letter.offset) for letter in letters}
    if missing := [place for place in wanted.ids if place not in there]:
        raise LettersMissing(missing)


def _report(source: Source, options: RedriveOptions, progress: RedriveProgress, form: str) -> None:
    """Print what came of it; raise what the exit code needs."""
    if form == "json":
        output.show_object(
            {
                "runs": progress.total,
                "asked": progress.sent,
                "resumed": progress.resumed,
                "refused": progress.refused,
                "unanswered": progress.total - progress.answered,
                "outcomes": progress.outcomes,
            }
        )
    if progress.interrupted is not None:
        terminal.say(_farewell(options, progress))
        raise click.exceptions.Exit(progress.interrupted.exit_code)
    if progress.answered < progress.total:
        raise NoWorkerAnswered(progress, source.topics.workflow, options.patience_seconds)
    outcomes = ", ".join(f"{count:,} {name}" for name, count in progress.outcomes.most_common())
    if progress.refused:
        raise SomeRefused(progress)
    if not progress.is_complete:
        raise SomeEndedBadly(outcomes)
    if progress.total:
        resumed = counts.runs(progress.resumed)
        terminal.say(f"{resumed} resumed{f': {outcomes}' if outcomes else ''}.")


def _farewell(options: RedriveOptions, progress: RedriveProgress) -> str:
    total = counts.runs(len(options.requests))
    return (
        f"Interrupted: asked {progress.sent:,} of {total} to resume, {progress.resumed:,} did. "
        f"To continue with the rest:\n  {consent.this_command()}"
    )
