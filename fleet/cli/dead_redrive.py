"""What `fleet dead redrive` shows before it does anything, and what it tells in the end."""

from collections.abc import Iterable

import click

from fleet.cli.shared import consent, loop, output, terminal
from fleet.cli.views import bars, dead
from fleet.control import audit
from fleet.control.dead import letters as dead_letters
from fleet.control.dead import redrive
from fleet.control.dead.letters import Filter
from fleet.control.dead.redrive import Order, Progress
from fleet.control.dead.topic import Found
from fleet.control.source import Source
from fleet.records import printable
from fleet.records.errors import ExitCode, FleetError

#: Run ids that an audit record has.
_AUDITED = 1_000
#: Refusals that are listed.
_NAMED = 20


class NothingToRedrive(FleetError):
    """Raised when no run of the letters that were found can be resumed, and some should be."""

    exit_code = ExitCode.REFUSED

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(f"nothing was changed. {' '.join(reasons)}")


class LettersMissing(FleetError):
    """Raised when letters that were named are not there, or are not those that filters take."""

    exit_code = ExitCode.REFUSED

    def __init__(self, places: Iterable[tuple[int, int]]) -> None:
        named = ", ".join(f"{partition}:{offset}" for partition, offset in places)
        super().__init__(
            f"nothing was changed: no dead letter that is meant is at {named}; `fleet dead list` "
            "shows those that are there"
        )


class NobodyAnswered(FleetError):
    """Raised when no worker has answered requests to resume runs."""

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, progress: Progress, workflow: str, seconds: float) -> None:
        open_ones = progress.total - progress.answered
        super().__init__(
            f"for {seconds:g} s no worker of {workflow} has answered, and {open_ones:,} of "
            f"{progress.total:,} requests are open. They stay in the log and are answered when one "
            "runs; asking again does no harm"
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
        listed = "".join(f"\n  {each}" for each in told[:_NAMED])
        super().__init__(
            f"{progress.resumed:,} of {dead.runs(progress.total)} go on; the workers refused "
            f"{len(told):,}:{listed}{more}"
        )


class SomeEndedBadly(FleetError):
    """Raised at the end when runs that went on ended again without a result."""

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, outcomes: str) -> None:
        super().__init__(f"not all have a result now: {outcomes}; see `fleet dead list`")


def redrive_all(source: Source, found: Found, order: Order) -> Progress:
    """Do what is ordered; return how far it came. Raises BrokerUnreachable, TopicsMissing."""
    progress = Progress()
    if order.asks or order.following:
        loop.run(_redrive(source, found, order, progress))
    return progress


async def _redrive(source: Source, found: Found, order: Order, progress: Progress) -> None:
    if order.asks:
        await _audit(source, order)
    with bars.bar() as move:
        progress.changed = lambda: move(*_position(progress, order))
        await redrive.run(source, found, order, progress)


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


def preview(found: Found, order: Order) -> bool:
    """Show what is to be done and what cannot be; return whether anything is to be changed.

    Raises NothingToRedrive where there should be.
    """
    refused = dead_letters.refused(found.standings)
    told = dead.refused_lines(refused)
    if not order.asks and not all(each.done for each in refused):
        raise NothingToRedrive(told)
    if order.asks:
        _say(output.plain(dead.preview_rows(order.asks)))
        letters = sum(len(ask.letters) for ask in order.asks)
        _say(f"{dead.runs(len(order.asks))} to go on, for {dead.letters(letters)}.")
    for line in told:
        _say(line)
    if order.following:
        _say(f"{dead.runs(len(order.following))} that went on before are waited for.")
    elif not order.asks:
        _say("Nothing to do." if told else "Nothing to do: no dead letter matches.")
    return bool(order.asks)


def check_named(found: Found, wanted: Filter) -> None:
    """Raise LettersMissing where a letter that was named is not among those found."""
    there = {(each.letter.partition, each.letter.offset) for each in found.standings}
    if missing := [place for place in wanted.ids if place not in there]:
        raise LettersMissing(missing)


def report(source: Source, order: Order, progress: Progress, form: str) -> None:
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
        _say(_farewell(order, progress))
        raise click.exceptions.Exit(progress.interrupted.exit_code)
    if progress.answered < progress.total:
        raise NobodyAnswered(progress, source.topics.workflow, order.patience_seconds)
    outcomes = ", ".join(f"{count:,} {name}" for name, count in progress.outcomes.most_common())
    if progress.refused:
        raise SomeRefused(progress)
    if not progress.is_complete:
        raise SomeEndedBadly(outcomes)
    if progress.total:
        _say(f"{dead.runs(progress.resumed)} went on{f': {outcomes}' if outcomes else ''}.")


def _farewell(order: Order, progress: Progress) -> str:
    total = dead.runs(len(order.asks))
    return (
        f"Interrupted: {progress.sent:,} of {total} were asked to go on, "
        f"{progress.resumed:,} have begun to. To go on with the rest:\n  {consent.this_command()}"
    )


def _say(words: str) -> None:
    terminal.echo(words, err=True)
