"""What `fleet dead list` and `fleet dead show` do."""

from collections.abc import Iterable
from datetime import datetime

from fleet.cli.shared import counts, loop, output, terminal
from fleet.cli.views import dead as dead_shown
from fleet.config import settings as configuration
from fleet.control import workflows
from fleet.control.dead import letters as dead_letters
from fleet.control.dead import topic
from fleet.control.dead.letters import Filter, place
from fleet.control.dead.topic import Found
from fleet.control.source import Source

__all__ = ["chosen", "list_letters", "place", "show_letter", "source"]


def source(workflow: str, group: str | None) -> Source:
    """Return where the letters of a step group of *workflow* are."""
    return Source(workflows.find(workflow), configuration.current(), group)


def chosen(  # noqa: PLR0913 - by name, each an option
    places: Iterable[str] = (),
    *,
    cause: str | None,
    step: str | None,
    error: str | None,
    run_id: str | None,
    since: datetime | None,
) -> Filter:
    """Return the filter that the options of a command mean."""
    return Filter(cause, step, error, run_id, since, tuple(map(place, places)))


def list_letters(source: Source, wanted: Filter, limit: int, form: str) -> None:
    """Print the letters that are *wanted*, the newest first, after their counts by kind."""
    found = loop.run(topic.look(source, wanted))
    newest = sorted(found.statuses, key=lambda status: status.letter.at, reverse=True)
    shown = newest[:limit] if limit else newest
    groups = dead_shown.group_rows(dead_letters.groups(found.statuses))
    if form == "json":
        listed = [dead_shown.fields(status) for status in shown]
        output.show_object({"groups": groups, "letters": listed})
    elif groups:
        output.show(groups, form)
        terminal.echo()
        output.show([dead_shown.row(status) for status in shown], form)
    terminal.say(_summary(found, len(shown)))


def show_letter(source: Source, at: tuple[int, int], form: str, *, with_value: bool) -> None:
    """Print the letter *at* a partition and offset."""
    shown = dead_shown.whole(loop.run(topic.one(source, at)), with_value=with_value)
    if with_value and shown["joined"] is not None:
        terminal.say(_no_value(shown["run"]))
    if form == "json":
        output.show_object(shown)
    else:
        terminal.echo(dead_shown.text(shown))


def _no_value(run_id: str) -> str:
    return (
        "A join has no value of its own; its events are among the values of its run: "
        f"`fleet runs show WORKFLOW {run_id} --values`."
    )


def _summary(found: Found, shown: int) -> str:
    count = len(found.statuses)
    if not count:
        return "No dead letters."
    runs = len(set(dead_letters.run_ids(status.letter for status in found.statuses)))
    ready = len(dead_letters.requests(found.statuses))
    return (
        f"{counts.letters(count)} of {counts.runs(runs)}{output.rest(shown, count)}. "
        f"{counts.runs(ready)} can be redriven."
    )
