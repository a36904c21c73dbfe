"""Dead letters: what they say, how they stand, and which runs are asked to go on for them."""

from datetime import UTC, datetime

import lives
import pytest
from lives import cancelled, completed, failed, letter, record, resumed, started, taken

from fleet.cli.views import dead as dead_shown
from fleet.control.dead import letters as dead_letters
from fleet.control.dead.letters import Filter, Letter, LetterStatus
from fleet.control.runs.log import RunLog
from fleet.records.log import Delivered

#: Unix seconds: soon after the records of `lives`.
NOW = 2_000.0
FAILED = list(lives.ended("r", failed()))


def parsed(*records: Delivered) -> list[Letter]:
    return [found for each in records if (found := dead_letters.parse(each))]


def statuses(
    *life: Delivered, letters: tuple[Delivered, ...] = (letter(1),), now: float = NOW
) -> list[LetterStatus]:
    """Return how letters stand after a life."""
    log = RunLog()
    for each in life:
        log.take(each)
    return dead_letters.statuses(parsed(*letters), log, now, keep_days=7)


def resumed_at(offset: int, epoch: int = 1) -> list[Delivered]:
    request = f"q{epoch}"
    return [
        record(resumed(), offset, epoch=epoch, event_id=request),
        record(taken(request), offset + 1, epoch=epoch),
    ]


def test_a_letter_says_where_it_is_what_failed_and_whose_run_it_is() -> None:
    """Without the original's value, and without the stack: there may be very many."""
    [found] = parsed(letter(3))
    assert (found.id, found.run_id, found.event_type) == ("0:3", "r", "Told")
    assert (found.kind, found.at) == (("failed", "judge", "LookupError"), 1003)
    assert "secret" not in repr(found)
    assert "deep" not in repr(found)


def test_a_letter_whose_original_is_broken_has_no_run() -> None:
    """Its headers name none."""
    [found] = parsed(letter(3, run_id="", reason="broken_envelope", step=""))
    assert (found.run_id, found.note.reason) == ("", "broken_envelope")


def test_what_is_no_letter_is_passed_over() -> None:
    """Somebody else's record in the topic."""
    broken = lives.delivered("d", 1, "r", b"", [("fleet-dead-letter", b"{")])
    assert parsed(lives.delivered("d", 0, "r", b"", []), broken) == []


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (Filter(), ["0:1", "0:2", "0:3"]),
        (Filter(reason="undecodable"), ["0:2"]),
        (Filter(step="judge"), ["0:1", "0:3"]),
        (Filter(error="KeyError"), ["0:3"]),
        (Filter(error="builtins.KeyError"), ["0:3"]),
        (Filter(run_id="b"), ["0:2"]),
        (Filter(since=datetime.fromtimestamp(1002, UTC)), ["0:2", "0:3"]),
        (Filter(ids=((0, 1), (0, 3)), error="KeyError"), ["0:3"]),
        (Filter(reason="too_large"), []),
    ],
)
def test_a_filter_takes_what_fits_all_of_it(wanted: Filter, ids: list[str]) -> None:
    """What is not set takes all."""
    letters = parsed(
        letter(1, "a"), letter(2, "b", "undecodable", ""), letter(3, "c", error="KeyError")
    )
    assert [each.id for each in letters if wanted.takes(each)] == ids
    assert wanted.takes_all == (wanted == Filter())


#: Python has numbers for some of these, Kafka for none.
STRANGE = (
    "²:1",
    "٣:٤",
    "1_0:2",
    " 1:2",
    "1:2\n",
    f"1:{2**63}",
    f"{2**31}:1",
    "1:" + "9" * 5000,
)


@pytest.mark.parametrize("text", ["", "3", "3:", ":4", "a:b", "3:4:5", "-1:2", *STRANGE])
def test_a_place_is_partition_and_offset(text: str) -> None:
    """Anything else is refused."""
    assert dead_letters.place("3:17") == (3, 17)
    with pytest.raises(dead_letters.NoLetterId, match="PARTITION:OFFSET"):
        dead_letters.place(text)


def test_a_run_that_failed_can_go_on() -> None:
    """In the next epoch, asked for in its own partition."""
    found = statuses(*FAILED)
    assert [(each.status, each.redriven, each.refusal) for each in found] == [("failed", False, "")]
    [request] = dead_letters.requests(found)
    assert (request.run_id, request.partition, request.epoch) == ("r", 0, 1)


REFUSED = {
    "names no run": ([], letter(1, run_id="", reason="broken_envelope")),
    "no record of its run": ([], letter(1)),
    "has completed": (lives.ended("r", completed()), letter(1)),
    "is running": ([record(started(), 0)], letter(1)),
    "ended before it began": ([record(cancelled(), 0)], letter(1)),
}


@pytest.mark.parametrize("why", REFUSED)
def test_some_cannot_go_on_and_the_reason_is_told(why: str) -> None:
    """Each in a sentence."""
    life, dead = REFUSED[why]
    found = statuses(*life, letters=(dead,))
    assert dead_letters.requests(found) == []
    [refused] = dead_letters.refused(found)
    assert why in refused.why
    assert refused.done == (why in ("has completed", "is running"))


def test_a_run_whose_state_is_gone_cannot_go_on() -> None:
    """FLEET_RESUME_DAYS after its end, not a second before."""
    edge = 1001 + 7 * 86_400
    assert dead_letters.requests(statuses(*FAILED, now=edge))
    [refused] = dead_letters.refused(statuses(*FAILED, now=edge + 1))
    assert "FLEET_RESUME_DAYS" in refused.why


def test_a_redriven_run_that_goes_on_or_has_completed_needs_nothing() -> None:
    """And is said to have been redriven."""
    going = statuses(*FAILED, *resumed_at(4))
    done = statuses(*FAILED, *resumed_at(4), record(completed(), 9, epoch=1))
    assert [each.status for each in (*going, *done)] == ["redriven, running", "redriven, completed"]
    assert dead_letters.requests([*going, *done]) == []
    assert [
        (request.run_id, request.epoch) for request in dead_letters.under_way([*going, *done])
    ] == [("r", 1)]


def test_a_run_that_failed_again_goes_on_for_its_newer_letter_only() -> None:
    """Whoever asks for the older one's cause means another failure."""
    life = (*FAILED, *resumed_at(4), record(failed(), 8, epoch=1))
    old, new = statuses(*life, letters=(letter(1), letter(8, error="KeyError")))
    assert "newer dead letter" in old.refusal
    [request] = dead_letters.requests([old, new])
    assert (request.epoch, [each.offset for each in request.letters]) == (2, [8])


def test_a_redriven_run_that_ended_without_a_new_letter_can_go_on_again() -> None:
    """It timed out or was cancelled: the letter is all there is to ask for it by."""
    [found] = statuses(*FAILED, *resumed_at(4), record(cancelled(), 8, epoch=1))
    assert (found.status, found.refusal) == ("redriven, cancelled", "")
    assert dead_letters.requests([found])[0].epoch == 2


def test_a_run_with_several_letters_is_asked_once() -> None:
    """One request resumes all that stopped."""
    found = statuses(*FAILED, letters=(letter(1), letter(2, step="other")))
    [request] = dead_letters.requests(found)
    assert len(request.letters) == 2
    assert [row["runs"] for row in dead_shown.preview_rows([request])] == [1, 1]


def test_a_limit_takes_the_runs_of_the_oldest_letters() -> None:
    """So that the same command again takes the next ones."""
    life = [each for run_id in "abc" for each in lives.ended(run_id, failed())]
    letters = (letter(9, "a"), letter(5, "b"), letter(7, "c"))
    found = statuses(*life, letters=letters)
    assert [request.run_id for request in dead_letters.requests(found, 2)] == ["b", "c"]


def test_letters_are_counted_by_what_failed() -> None:
    """With their runs, and how many were redriven, have completed or wait."""
    life = (*FAILED, *lives.ended("done", completed()))
    letters = (letter(1), letter(2), letter(3, "done"), letter(4, "", "broken_envelope", ""))
    groups = dead_letters.groups(statuses(*life, letters=letters))
    assert dead_shown.group_rows(groups) == [
        {
            "reason": "failed",
            "step": "judge",
            "error": "LookupError",
            "letters": 3,
            "runs": 2,
            "redriven": 0,
            "completed": 1,
            "redrivable": 2,
        },
        {
            "reason": "broken_envelope",
            "step": None,
            "error": "LookupError",
            "letters": 1,
            "runs": 0,
            "redriven": 0,
            "completed": 0,
            "redrivable": 0,
        },
    ]


def test_a_letter_is_shown_whole_and_its_value_only_if_wanted() -> None:
    """The original may hold prompts."""
    without = dead_shown.whole(letter(3), with_value=False)
    assert (without["stack"], without["value_bytes"]) == ("deep", 13)
    assert "secret" not in dead_shown.text(without)
    assert '{"secret": 1}' in dead_shown.text(dead_shown.whole(letter(3), with_value=True))


def test_what_is_refused_is_told_with_examples() -> None:
    """Three places to look at."""
    found = statuses(letters=tuple(letter(place) for place in range(5)))
    [line] = dead_shown.refused_lines(dead_letters.refused(found))
    assert line.startswith("Not redriven: 5 dead letters (0:0, 0:1, 0:2…): no record")
