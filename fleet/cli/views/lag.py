"""Print lag: as rows for people, as objects for programs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby

from fleet.cli.shared import counts
from fleet.cli.shared.output import Row
from fleet.control.lag.reader import GroupLag, PartitionLag
from fleet.records.errors import ExitCode, FleetError


class LagAbove(FleetError):
    """Raised when a step group is further behind than the limit that you set.

    What to do: Look at `fleet lag` and `fleet groups list`: start workers, or find out what holds
    them up.
    """

    exit_code = ExitCode.ABOVE_LIMIT

    def __init__(self, group: GroupLag, limit_seconds: float) -> None:
        worst = max(group.partitions, key=lambda lag: lag.seconds)
        super().__init__(
            f"{group.workflow}.{group.group} is {worst.seconds:,.1f} s behind in "
            f"{worst.topic}[{worst.partition}], above the limit of {limit_seconds:g} s; "
            f"{_members(group)}"
        )


def check(groups: Iterable[GroupLag], limit_seconds: float | None) -> None:
    """Raise LagAbove for the group that is furthest behind, if that is more than the limit."""
    worst = max(groups, key=lambda group: group.seconds, default=None)
    if limit_seconds is not None and worst is not None and worst.seconds > limit_seconds:
        raise LagAbove(worst, limit_seconds)


def rows(groups: Iterable[GroupLag], *, partitions: bool) -> list[Row]:
    """Return a row for each topic of each group, or for each partition."""
    line = _by_partition if partitions else _by_topic
    return [row for group in groups for row in line(group)]


def group_rows(
    groups: Iterable[GroupLag], steps: dict[tuple[str, str], list[str]], form: str
) -> list[Row]:
    """Return a row for each group; *steps* by workflow and group, if known."""
    rows: list[Row] = []
    for group in groups:
        known = steps.get((group.workflow, group.group))
        rows.append(
            {
                "workflow": group.workflow,
                "group": group.group,
                "state": group.state,
                "members": group.members,
                "partitions": len({lag.partition for lag in group.partitions}),
                "records": group.records if form == "json" else _records([group]),
                "seconds": round(group.seconds, 3) if form == "json" else _seconds(group.seconds),
                "steps": known if form == "json" else ", ".join(known or ["(not installed here)"]),
            }
        )
    return rows


def objects(groups: Iterable[GroupLag]) -> list[dict[str, object]]:
    """Return everything, for JSON."""
    return [
        {
            "workflow": group.workflow,
            "group": group.group,
            "state": group.state,
            "members": group.members,
            "records": group.records,
            "exact": group.exact,
            "seconds": round(group.seconds, 3),
            "partitions": [
                asdict(lag) | {"seconds": round(lag.seconds, 3)} for lag in group.partitions
            ],
        }
        for group in groups
    ]


def notes(groups: Iterable[GroupLag]) -> Iterator[str]:
    """Yield notes beside the numbers."""
    for group in groups:
        if not group.members:
            yield f"{group.workflow}.{group.group}: {_members(group)}."
    if not all(group.exact for group in groups):
        yield "≤: at most this many; markers of transactions take offsets, too."


def _by_topic(group: GroupLag) -> Iterator[Row]:
    for topic, found in groupby(group.partitions, key=lambda lag: lag.topic):
        lags = tuple(found)
        yield {
            "workflow": group.workflow,
            "group": group.group,
            "topic": topic,
            "behind": f"{sum(lag.records > 0 for lag in lags)} of {len(lags)}",
            "records": _records(lags),
            "seconds": _seconds(max(lag.seconds for lag in lags)),
        }


def _by_partition(group: GroupLag) -> Iterator[Row]:
    for lag in group.partitions:
        yield {
            "workflow": group.workflow,
            "group": group.group,
            "topic": lag.topic,
            "partition": lag.partition,
            "committable": lag.committable,
            "end": lag.end,
            "records": _records([lag]),
            "seconds": _seconds(lag.seconds),
        }


def _records(lags: Sequence[PartitionLag] | Sequence[GroupLag]) -> str:
    at_most = "" if all(lag.exact for lag in lags) else "≤ "
    return f"{at_most}{sum(lag.records for lag in lags):,}"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f}"


def _members(group: GroupLag) -> str:
    if group.members:
        return f"{counts.of(group.members, 'worker')} in its group"
    return "no worker is in its group: start one with `faust -A MODULE worker -l info`"
