"""Which stream records of a run are for its reader."""

import pytest

from fleet.client.streams.shown import Shown
from fleet.records.envelope import Envelope


def shown(*ids: str, from_the_start: bool = True) -> list[str]:
    """Return those of the stream records that are shown; all of one step on one event."""
    return [each for each, _ in taken(*ids, from_the_start=from_the_start)]


def taken(*ids: str, from_the_start: bool = True) -> list[tuple[str, int]]:
    """Return the same, each with how many events it voids."""
    stream = Shown()
    if not from_the_start:
        stream.miss_some()
    found = [(each, stream.take(Envelope("r", each, "T", parent_id="e"))) for each in ids]
    return [(each, void) for each, void in found if void is not None]


def test_each_number_is_shown_once() -> None:
    """What is read again is known by its number."""
    assert shown("a-0", "a-1", "a-0", "a-1", "a-2", "a-2") == ["a-0", "a-1", "a-2"]


def test_a_new_attempt_begins_again() -> None:
    """And what the older one still shows is passed over, also when it shows it late."""
    assert shown("a-0", "a-1", "b-0", "a-2", "b-1", "a-0") == ["a-0", "a-1", "b-0", "b-1"]


def test_an_attempt_that_began_before_is_older_whenever_it_shows_something() -> None:
    """Its worker was cut off, and what it wrote arrives after what its successor wrote."""
    assert shown("2.b-0", "1.a-0", "2.b-1", "1.a-1") == ["2.b-0", "2.b-1"]


def test_a_newer_attempt_voids_what_was_shown_of_the_older_one() -> None:
    """Its first event says how many were shown, without copies and gaps."""
    found = taken("1.a-0", "1.a-1", "1.a-1", "1.a-4", "2.b-0", "1.a-5", "2.b-1", "3.c-0")
    assert [void for _, void in found] == [0, 0, 0, 3, 0, 2]


def test_a_gap_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    """What is there is shown, and the log says what is missing."""
    assert shown("a-0", "a-3", "a-4") == ["a-0", "a-3", "a-4"]
    assert "1-2" in caplog.text


def test_a_gap_at_the_beginning_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    """Where the stream was followed before the run began."""
    assert shown("a-2") == ["a-2"]
    assert "0-1" in caplog.text


def test_who_comes_late_misses_the_beginning(caplog: pytest.LogCaptureFixture) -> None:
    """That is no gap: nobody here followed the stream then."""
    assert shown("a-5", "a-6", "a-5", from_the_start=False) == ["a-5", "a-6"]
    assert caplog.text == ""


@pytest.mark.parametrize("foreign", ["a", "", "a-", "a-x", "-", "x.y-z"])
def test_what_has_no_number_is_not_shown(foreign: str) -> None:
    """Anybody may write to a topic."""
    assert shown("a-0", foreign, "a-1") == ["a-0", "a-1"]
