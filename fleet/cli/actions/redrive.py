"""What `fleet dead redrive` does: choose runs, show them, ask, resume them, report."""

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
from fleet.control.dead.redrive import Order, Progress
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
    """Raised when you chose letters and none of their runs can be resumed."""

    exit_code = ExitCode.REFUSED

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(f"nothing was changed. {' '.join(reasons)}")


class LettersMissing(FleetError):
    """Raised when letters that you named do not exist, or the filters leave them out."""

    exit_code = ExitCode.REFUSED

    def __init__(self, places: Iterable[tuple[int, int]]) -> None:
        named = ", ".join(f"{partition}:{offset}" for partition, offset in places)
        super().__init__(
            f"nothing was changed: no dead letter is at {named}, or your filters leave it out; "
            "`fleet dead list` shows the letters"
        )


class NobodyAnswered(FleetError):
    """Raised when no worker has answered requests to resume runs."""

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, progress: Progress, workflow: str, seconds: float) -> None:
        open_ones = progress.total - progress.answered
        super().__init__(
            f"no worker of {workflow} answered for {seconds:g} s, and {open_ones:,} of "
            f"{progress.total:,} requests are open. They stay in the log, and a worker answers "
            "them when it runs; repeating the command does no harm"
        )


class SomeRefused(FleetError):
    """Raised at the end when some runs were not resumed."""

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, progress: Progress) -> None:
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
    """Raised at the end when runs that were resumed ended again without a result."""

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, outcomes: str) -> None:
        super().__init__(f"not all have a result now: {outcomes}; see `fleet dead list`")


@dataclass(frozen=True, slots=True)
class How:
    """What the options say of how to resume runs; see `Order`."""

    reason: str
    #: At most this many runs.
    limit: int | None
    rate: float | None
    patience_seconds: float
    wait: bool

    def order(self, found: Found) -> Order:
        """Return what to do about the letters that were *found*."""
        return Order(
            asks=dead_letters.asks(found.standings, self.limit),
            following=dead_letters.under_way(found.standings) if self.wait else [],
            reason=self.reason,
            rate=self.rate,
            patience_seconds=self.patience_seconds,
            wait=self.wait,
        )


def redrive(source: Source, wanted: Filter, how: How, form: str, *, yes: bool) -> None:
    """Resume the runs of the letters that are *wanted*; raise what the exit code needs."""
    found = loop.run(topic.look(source, wanted))
    order = how.order(found)
    _check_named(found, wanted)
    if _preview(found, order):
        consent.ask(f"Resume {counts.runs(len(order.asks))}?", yes=yes)
    progress = Progress()
    if order.asks or order.following:
        loop.run(_redrive(source, found, order, progress))
    _report(source, order, progress, form)


async def _redrive(source: Source, found: Found, order: Order, progress: Progress) -> None:
    if order.asks:
        await _audit(source, order)
    with bars.bar() as move:
        progress.changed = lambda: move(*_position(progress, order))
        await redriving.run(source, found, order, progress)


async def _audit(source: Source, order: Order) -> None:
    ids = [ask.run_id for ask in order.asks]
    await audit.record(
        source.settings,
        command="dead redrive",
        workflow=source.workflow.workflow_name,
        reason=order.reason,
        details={
            "group": source.topics.group,
            "letters": sum(len(ask.letters) for ask in order.asks),
            "runs": len(ids),
            "run_ids": ids[:_AUDITED],
        },
    )


def _position(progress: Progress, order: Order) -> tuple[int, int, str]:
    if order.wait and progress.answered == progress.total:
        return progress.ended, progress.resumed, "ended"
    if progress.sent < len(order.asks):
        return progress.sent, len(order.asks), "asked"
    return progress.answered, progress.total, "answered"


def _preview(found: Found, order: Order) -> bool:
    """Show what can be resumed and what cannot; return whether there is something to resume.

    Raises NothingToRedrive.
    """
    refused = dead_letters.refused(found.standings)
    told = dead.refused_lines(refused)
    if not order.asks and not all(refusal.done for refusal in refused):
        raise NothingToRedrive(told)
    if order.asks:
        terminal.say(output.plain(dead.preview_rows(order.asks)))
        letters = sum(len(ask.letters) for ask in order.asks)
        terminal.say(f"{counts.runs(len(order.asks))} to resume, for {counts.letters(letters)}.")
    for line in told:
        terminal.say(line)
    if order.following:
        terminal.say(f"Waiting for {counts.runs(len(order.following))} resumed before, too.")
    elif not order.asks:
        terminal.say("Nothing to do." if told else "Nothing to do: no dead letter matches.")
    return bool(order.asks)


def _check_named(found: Found, wanted: Filter) -> None:
    """Raise LettersMissing if a letter that you named is not among those found."""
    letters = (standing.letter for standing in found.standings)
    there = {(letter.partition, letter.offset) for letter in letters}
    if missing := [place for place in wanted.ids if place not in there]:
        raise LettersMissing(missing)


def _report(source: Source, order: Order, progress: Progress, form: str) -> None:
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
        terminal.say(_farewell(order, progress))
        raise click.exceptions.Exit(progress.interrupted.exit_code)
    if progress.answered < progress.total:
        raise NobodyAnswered(progress, source.topics.workflow, order.patience_seconds)
    outcomes = ", ".join(f"{count:,} {name}" for name, count in progress.outcomes.most_common())
    if progress.refused:
        raise SomeRefused(progress)
    if not progress.is_complete:
        raise SomeEndedBadly(outcomes)
    if progress.total:
        resumed = counts.runs(progress.resumed)
        terminal.say(f"{resumed} resumed{f': {outcomes}' if outcomes else ''}.")


def _farewell(order: Order, progress: Progress) -> str:
    total = counts.runs(len(order.asks))
    return (
        f"Interrupted: asked {progress.sent:,} of {total} to resume, {progress.resumed:,} did. "
        f"To continue with the rest:\n  {consent.this_command()}"
    )
