"""Moments as people write them."""

from datetime import UTC, datetime, timedelta

import click
import pytest
from click.testing import CliRunner

from fleet.cli.shared import moments
from fleet.control import times

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("2h", timedelta(hours=2)),
        ("1d12h", timedelta(hours=36)),
        ("1.5h", timedelta(minutes=90)),
        (" 5m ", timedelta(minutes=5)),
    ],
)
def test_so_long_ago(text: str, ago: timedelta) -> None:
    """Counted back from now, in any of four units."""
    assert times.moment(text, NOW) == NOW - ago


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2026-11-22", 0),
        ("2026-11-22T10:00", 10),
        ("2026-11-22 10:00:00+01:00", 9),
        ("2026-11-22T10:00:00Z", 10),
    ],
)
def test_a_date_and_time_is_utc_unless_it_says_otherwise(text: str, hour: int) -> None:
    """As everything that is shown is UTC."""
    assert times.moment(text, NOW) == datetime(2026, 11, 22, hour, tzinfo=UTC)
    assert times.moment(text).tzinfo is UTC


@pytest.mark.parametrize("text", ["", "yesterday", "5", "2w", "2026-13-01", "99999999d", "-2h"])
def test_anything_else_is_refused_with_the_forms_there_are(text: str) -> None:
    """In a sentence of ours."""
    with pytest.raises(times.InvalidTime, match=r"is not a valid time .*2h, 1d12h"):
        times.moment(text, NOW)


def test_on_the_command_line_it_is_wrong_usage() -> None:
    """Exit code 2, as for every wrong option."""

    @click.command()
    @click.option("--since", type=moments.Moment())
    def command(since: datetime) -> None:
        click.echo(since.isoformat())

    assert CliRunner().invoke(command, ["--since", "x"]).exit_code == 2
    assert CliRunner().invoke(command, ["--since", "2026-11-22"]).output.startswith("2026-11-22T")


def test_a_moment_is_shown_in_utc_and_given_to_kafka_in_milliseconds() -> None:
    """Both from the same moment."""
    assert times.milliseconds(NOW) == 1_795_348_800_000
    assert times.shown(NOW.timestamp()) == "2026-11-22 12:00:00"
