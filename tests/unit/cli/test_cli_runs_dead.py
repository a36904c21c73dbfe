"""`fleet runs`, `fleet dead` and `fleet audit` without a broker: usage, refusals, selections."""

import json
import re
from typing import Any

import lives
import pytest
from click.testing import CliRunner, Result
from lives import cancelled, completed, failed, letter, record, started

from fleet.cli import main
from fleet.cli.actions.redrive import NoWorkerAnswered
from fleet.cli.shared import consent
from fleet.cli.views import dead as dead_shown
from fleet.cli.views import run as run_shown
from fleet.cli.views import waiting as waiting_shown
from fleet.config.settings import Settings
from fleet.control import audit
from fleet.control.dead import letters as dead_letters
from fleet.control.dead import topic
from fleet.control.dead.redrive import RedriveProgress
from fleet.control.dead.topic import Found
from fleet.control.runs import cancelling, sending, waiting
from fleet.control.runs import topic as runs_topic
from fleet.control.runs.log import RunLog
from fleet.control.runs.topic import NoSuchRun, RunDetails, Step
from fleet.control.source import Source
from fleet.engine.transitions.suspended import Suspended
from fleet.joke import JokeEvent, JokeFlow
from fleet.kafka import provision
from fleet.records import state
from fleet.records.lifecycle import StepRecord
from fleet.records.log import Delivered
from fleet.records.waits import Wait

NOBODY = ("--broker", "kafka://127.0.0.1:1")


def fleet(*arguments: str) -> Result:
    return CliRunner().invoke(main.main, arguments)


def log_of(*records: Delivered) -> RunLog:
    log = RunLog()
    for each in records:
        log.take(each)
    return log


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", "list", "joke"),
        ("runs", "show", "joke", "r"),
        ("runs", "export", "joke", "r"),
        ("runs", "cancel", "joke", "r", "--reason", "x", "--yes"),
        ("runs", "waiting", "joke"),
        ("runs", "send", "joke", "r", "JokeEvent", "joke=ha", "--reason", "x"),
        ("dead", "list", "joke", "--json"),
        ("dead", "show", "joke", "0:1"),
        ("dead", "redrive", "joke", "--all", "--reason", "x", "--yes"),
        ("audit", "list"),
    ],
)
def test_without_a_broker_it_is_a_sentence_and_4(arguments: tuple[str, ...]) -> None:
    """So that a script can wait and try again."""
    result = fleet(*arguments, *NOBODY)
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("Error: no Kafka broker answers")


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [
        (("runs", "cancel", "joke", "r"), "--reason"),
        (("runs", "cancel", "joke", "--reason", "x"), "name the runs"),
        (("runs", "cancel", "joke", "r", "--all-open", "--reason", "x"), "name the runs"),
        (("runs", "cancel", "joke", "--all-open", "--reason", "x"), "--limit N"),
        (("runs", "cancel", "joke", "r", "--limit", "2", "--reason", "x"), "go with --all-open"),
        (("runs", "list", "joke", "--outcome", "odd"), "running"),
        (("runs", "list", "joke", "--since", "odd"), "2h"),
        (("runs", "list", "jok"), "did you mean joke?"),
        (("dead", "redrive", "joke", "--all"), "--reason"),
        (("dead", "redrive", "joke", "--reason", "x"), "take --all"),
        (("dead", "redrive", "joke", "--all", "--step", "s", "--reason", "x"), "take --all"),
        (("dead", "redrive", "joke", "x", "--reason", "x"), "PARTITION:OFFSET"),
        (("dead", "show", "joke", "x"), "PARTITION:OFFSET"),
    ],
)
def test_wrong_usage_is_2_and_tells_the_way_out(arguments: tuple[str, ...], way_out: str) -> None:
    """A bound is required for what changes; nothing is asked of a broker."""
    result = fleet(*arguments, *NOBODY)
    assert result.exit_code == 2
    assert way_out in result.stderr


def test_without_a_terminal_nothing_is_done_unasked() -> None:
    """It names --yes; whoever gives it is not asked."""
    consent.ask("?", yes=True)
    with pytest.raises(consent.NotConfirmed, match="--yes") as refused:
        consent.ask("?", yes=False)
    assert refused.value.exit_code == 2


def test_runs_to_cancel_are_those_that_go_on() -> None:
    """What has ended, or is not known, is told apart; a repeated id counts once."""
    log = log_of(
        record(started(), 0, "a"),
        *lives.ended("b", completed()),
        *lives.ended("c", cancelled()),
    )
    chosen = cancelling.select(log, ["a", "b", "c", "x", "a"])
    assert [run.id for run in chosen.open] == ["a"]
    assert [run.id for run in chosen.ended] == ["b", "c"]
    assert [run.id for run in chosen.overtaken] == ["b"]
    assert chosen.unknown == ["x"]


def test_of_all_open_runs_the_oldest_are_taken() -> None:
    """At most as many as allowed; what is left is counted."""
    log = log_of(*(record(started(), place, f"r{place}") for place in (3, 1, 2)))
    chosen = cancelling.select_open(log, 2)
    assert ([run.id for run in chosen.open], chosen.left) == (["r1", "r2"], 1)
    assert [run.id for run in cancelling.select_open(log, 9, 1002.0).open] == ["r1"]


def test_a_run_is_shown_without_what_is_in_it() -> None:
    """Its life in order, its dead letters; values only where they were read."""
    run = log_of(*lives.ended("r", failed())).get("r")
    assert run is not None
    found = dead_letters.parse(letter(1))
    details = RunDetails(run, letters=[found] if found else [])
    rows = run_shown.details_rows(details)
    assert [row["what"] for row in rows["Life"]] == ["started", "failed"]
    assert [row["letter"] for row in rows["Dead letters"]] == ["0:1"]
    assert "secret" not in json.dumps([rows, run_shown.details_fields(details)])


def attempt(number: int, step: str = "work", **fields: Any) -> Step:
    """Return an attempt that began *number* milliseconds after 1000."""
    began = 1000 + number / 1000
    known = {"event_type": "Part", "attempt": 1, "outcome": "returned", "sent": ("Done",)}
    record = StepRecord(
        step=step,
        group="main",
        event_id=str(number),
        queued=began - 0.002,
        started=began,
        finished=began + number / 100,
        **{**known, **fields},
    )
    return Step(0, record)


def test_many_attempts_of_one_step_are_one_line() -> None:
    """With their number, the range of their times and what they sent; JSON has each."""
    split = attempt(0, "split", event_type="Split", sent=("Part",) * 100)
    branches = [attempt(number, attempt=1 + (number == 9)) for number in range(1, 151)]
    join = attempt(200, "join", event_type="Done", sent=("Joined",))
    run = log_of(*lives.ended("r", completed())).get("r")
    assert run is not None
    details = RunDetails(run, steps=[split, *branches, join])
    rows = run_shown.details_rows(details)["Steps"]
    shown = ("step", "times", "attempt", "took s", "sent")
    assert [tuple(row[name] for name in shown) for row in rows] == [
        ("split", "1", "1", "0.000", "Part (100), and more"),
        ("work", "150", "1 to 2", "0.010 to 1.500", "Done (150)"),
        ("join", "1", "1", "2.000", "Joined"),
    ]
    assert run_shown.left_out(details) == (
        "Many attempts of one step are one line; --all lists each."
    )
    assert len(run_shown.details_rows(details, every=True)["Steps"]) == 152
    assert len(run_shown.details_fields(details)["steps"]) == 152


def test_attempts_that_raised_are_listed_among_many() -> None:
    """Up to a limit, as the dead letters are; the rest is counted."""
    branches = [attempt(number) for number in range(1, 90)]
    failing = [attempt(number, outcome="raised", sent=()) for number in range(100, 130)]
    run = log_of(*lives.ended("r", failed())).get("r")
    letters = [each for n in range(30) if (each := dead_letters.parse(letter(n)))]
    assert run is not None
    details = RunDetails(run, steps=[*branches, *failing], letters=letters)
    tables = run_shown.details_rows(details)
    outcomes = [(row["outcome"], row["times"]) for row in tables["Steps"]]
    assert outcomes == [("returned", "89"), *[("raised", "1")] * 20, ("raised", "10")]
    assert len(tables["Dead letters"]) == 20
    told = run_shown.left_out(details)
    assert told == (
        "Many attempts of one step are one line, 10 dead letters left out; --all lists each."
    )
    assert len(run_shown.details_rows(details, every=True)["Dead letters"]) == 30


def test_a_few_attempts_are_listed_one_by_one() -> None:
    """As in a flow without a fan-out; nothing is said of more."""
    run = log_of(*lives.ended("r", completed())).get("r")
    assert run is not None
    details = RunDetails(run, steps=[attempt(number) for number in range(5)])
    rows = run_shown.details_rows(details)["Steps"]
    assert len(rows) == 5
    assert "times" not in rows[0]
    assert run_shown.left_out(details) == ""


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_join_that_failed_is_shown_as_one(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """It is in no topic: how many events it had, no offset, and where their values are."""
    record = letter(1, step="join", joined=4)

    async def one(*_: object) -> Delivered:
        return record

    monkeypatch.setattr(topic, "one", one)
    result = fleet("dead", "show", "joke", "0:1", "--value", "-o", form, *NOBODY)
    assert result.exit_code == 0, result.stderr
    assert "`fleet runs show WORKFLOW r --values`" in result.stderr
    if form == "json":
        shown = json.loads(result.stdout)
        assert (shown["origin"], shown["joined"]) == ("a join of 4 events", 4)
    else:
        assert re.search(r"^origin +a join of 4 events$", result.stdout, re.MULTILINE)
    [status] = found(*lives.ended("r", failed()), letters=(record,)).statuses
    fields = dead_shown.fields(status)
    assert (fields["topic"], fields["offset"], fields["joined"]) == (None, None, 4)


def test_runs_are_counted_by_outcome() -> None:
    """In a sentence."""
    log = log_of(*lives.ended("a", failed()), *lives.ended("b", failed()), record(started(), 0))
    assert run_shown.counted(log) == "3 runs: 2 failed, 1 running"
    assert run_shown.counted([]) == "0 runs"


def found(*life: Delivered, letters: tuple[Delivered, ...]) -> Found:
    log = log_of(*life)
    parsed = [each for record in letters if (each := dead_letters.parse(record))]
    return Found(dead_letters.statuses(parsed, log, 2_000.0, 7), log, {})


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Found]:
    """What is on the broker, in place of one."""
    there: dict[str, Found] = {}

    async def look(*_: object) -> Found:
        return there["found"]

    monkeypatch.setattr(topic, "look", look)
    return there


REDRIVE = ("dead", "redrive", "joke", "--reason", "fixed")


def test_a_redrive_is_shown_before_it_is_refused(looked: dict[str, Found]) -> None:
    """By kind, with the runs, and what cannot be redriven and why."""
    looked["found"] = found(
        *lives.ended("r", failed()), letters=(letter(1), letter(2, "", "broken_envelope", ""))
    )
    result = fleet(*REDRIVE, "--all", *NOBODY)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "1 run to resume, for 1 dead letter." in result.stderr
    assert "Not redriven: 1 dead letter (0:2): it names no run" in result.stderr
    assert "add --yes" in result.stderr


def test_when_nothing_can_be_redriven_it_is_2_with_the_reasons(looked: dict[str, Found]) -> None:
    """A run of which nothing is left."""
    looked["found"] = found(letters=(letter(1),))
    result = fleet(*REDRIVE, "--all", "--yes", *NOBODY)
    assert result.exit_code == 2
    assert "nothing was changed" in result.stderr
    assert "no record of its run" in result.stderr


@pytest.mark.parametrize("letters", [(), (letter(1),)])
def test_when_all_is_done_already_there_is_nothing_to_do(
    letters: tuple[Delivered, ...], looked: dict[str, Found]
) -> None:
    """The same command again ends well."""
    looked["found"] = found(*lives.ended("r", completed()), letters=letters)
    result = fleet(*REDRIVE, "--all", "--yes", *NOBODY)
    assert result.exit_code == 0
    assert "Nothing to do" in result.stderr


def test_letters_that_are_not_there_are_told(looked: dict[str, Found]) -> None:
    """And nothing is changed, also for those that are."""
    looked["found"] = found(*lives.ended("r", failed()), letters=(letter(1),))
    result = fleet(*REDRIVE, "0:1", "0:5", "--yes", *NOBODY)
    assert result.exit_code == 2
    assert "at 0:5" in result.stderr


def test_what_no_worker_answers_stays_in_the_log() -> None:
    """The sentence says so, and how many are open."""
    told = NoWorkerAnswered(RedriveProgress(total=5, sent=5, resumed=2), "joke", 60.0)
    assert "3 of 5 requests are open. They stay in the log" in str(told)
    assert told.exit_code == 3


def test_a_redrive_is_complete_when_every_run_went_on_and_none_ended_badly() -> None:
    """What was waited for counts, too."""
    progress = RedriveProgress(total=2, resumed=2)
    assert progress.is_complete
    progress.outcomes.update(["completed", "failed"])
    assert not progress.is_complete


def test_an_audit_record_is_read_as_it_was_written() -> None:
    """And what somebody else wrote there is passed over."""
    entry = audit.Entry(1.5, "me@here", "dead redrive", "joke", "fixed", {"runs": 3})
    written = lives.delivered("p.audit", 0, "joke", entry.encode(), [])
    assert audit.Entry.decode(written) == entry
    for value in (b"", b"{}", b"[]", b"1"):
        assert audit.Entry.decode(lives.delivered("p.audit", 0, "joke", value, [])) is None


def test_a_missing_audit_topic_names_the_recipe() -> None:
    """Somebody else decides about topics of a broker elsewhere."""
    told = str(provision.AuditMissing("p.audit", Settings(broker="kafka://far:9092")))
    assert "`fleet topics apply WORKFLOW`" in told
    assert "nothing was changed" in told


async def test_an_event_for_a_run_that_has_ended_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is written, not even to the audit topic."""
    log = log_of(record(started(), 0), record(failed(), 1))

    async def runs(*_: object) -> tuple[RunLog, dict[object, int]]:
        return log, {}

    monkeypatch.setattr(runs_topic, "runs", runs)
    source = Source(JokeFlow, Settings())
    with pytest.raises(sending.RunIsOver, match=r"r has ended \(failed\).*fleet dead redrive"):
        await sending.send(source, "r", JokeEvent(joke="ha"), None, "x")
    with pytest.raises(NoSuchRun):
        await sending.send(source, "s", JokeEvent(joke="ha"), None, "x")
    with pytest.raises(sending.NotForThisStep, match="there is no step 'judge'"):
        await sending.send(source, "r", JokeEvent(joke="ha"), "judge", "x")


def wait_record(
    offset: int, run_id: str = "r", due_ms: int = 0, *, gone: bool = False
) -> Delivered:
    """Return a record of the changelog: a step begins to wait, or waits no more."""
    wait = Wait(
        id="w",
        awaits="Approval",
        module="m",
        qualname="Approval",
        requirements={"by": "Ann"},
        question_type="Ask",
        question='{"text":"May I?"}',
    )
    entry = Suspended(
        topic="t", headers=(), value=b"{}", step="ask", since_ms=1_000, due_ms=due_ms, wait=wait
    )
    key, value = state.waiting_key(run_id, "e1", "ask"), None if gone else entry.encode()
    return Delivered("p.w.main.state", 0, offset, 0, key, value, [])


def test_what_steps_wait_for_is_folded_from_the_state() -> None:
    """Only what waits now, and only for events."""
    log = waiting.WaitLog()
    sleeps = Suspended(topic="t", headers=(), step="nap", due_ms=5)
    log.take(wait_record(0))
    log.take(wait_record(1, "s", due_ms=61_000))
    log.take(wait_record(2, "gone"))
    log.take(wait_record(3, "gone", gone=True))
    log.take(Delivered("t", 0, 4, 0, state.waiting_key("z", "e", "nap"), sleeps.encode(), []))
    found = log.oldest_first()
    assert [(one.run_id, one.until) for one in found] == [("r", None), ("s", 61.0)]
    assert waiting_shown.fields(found[0]) == {
        "run": "r",
        "step": "ask",
        "event": "e1",
        "waiter_id": "w",
        "type": "Approval",
        "requirements": {"by": "Ann"},
        "asked": "Ask",
        "question": {"text": "May I?"},
        "since": 1.0,
        "until": None,
    }
    assert waiting_shown.row(found[1]) == {
        "run": "s",
        "step": "ask",
        "waits for": "Approval",
        "required": '{"by": "Ann"}',
        "asked": 'Ask {"text":"May I?"}',
        "since": "1970-01-01 00:00:01",
        "until": "1970-01-01 00:01:01",
    }
