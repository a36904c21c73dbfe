"""`fleet replay` without a broker: what is taken, what becomes of it, usage and refusals."""

import json
from collections import Counter
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fleet import Event, StartEvent
from fleet.cli import main
from fleet.cli.actions import replay as replaying
from fleet.control.replay import plan as replay_plan
from fleet.control.replay import selection, sending
from fleet.control.replay.plan import Filter, Place, Plan
from fleet.control.replay.selection import Found, Refused, Selector
from fleet.control.replay.sending import ReplayProgress
from fleet.records import envelope as envelopes
from fleet.records.envelope import Envelope
from fleet.records.log import Delivered
from fleet.records.nested.caller import Caller

NOBODY = ("--broker", "kafka://127.0.0.1:1")
START = "joke.StartEvent"


class Ordered(StartEvent):
    amount: int = 0


def fleet(*arguments: str) -> Result:
    return CliRunner().invoke(main.main, ("replay", *arguments))


def event(value: Any = None, *, offset: int = 7, partition: int = 2, **fields: Any) -> Delivered:
    """Return a record of an event's topic."""
    envelope = Envelope(**{"run_id": "r", "event_id": "e", "type": "Ordered", **fields})
    return Delivered(
        topic="fleet.shop.Ordered",
        partition=partition,
        offset=offset,
        appended_ms=1000,
        key=envelope.run_id.encode(),
        value=json.dumps(value or {}).encode(),
        headers=envelope.headers(),
    )


def judge(record: Delivered, *, begins: bool = True, copy: bool = False, **rules: Any) -> object:
    taken: type[Event] | None = None if copy else Ordered
    selector = Selector(Filter(**rules), event=taken, begins=begins, max_replays=3)
    return selector.decide(record)


def is_taken(value: Any, *where: str) -> bool:
    return isinstance(judge(event(value), where=where), Envelope)


def plan(**fields: Any) -> Plan:
    known = {"id": "abc", "target": START, "topic": "t", "spans": {0: (3, 9)}, "counts": {0: 5}}
    return Plan(**{**known, "max_replays": 5, **fields})


@pytest.mark.parametrize(
    ("where", "value", "holds"),
    [
        ("topic=pirates", {"topic": "pirates"}, True),
        ("topic=pirates", {"topic": "ninjas"}, False),
        ("topic=pirates", {}, False),
        ("topic=pirates", ["pirates"], False),
        ("amount=3", {"amount": 3}, True),
        ("amount=3", {"amount": "3"}, True),
        ("amount:=3", {"amount": "3"}, False),
        ("amount:=3", {"amount": 3.0}, True),
        ("paid=true", {"paid": True}, True),
        ("paid=1", {"paid": True}, False),
        ("paid:=null", {"paid": None}, True),
        ("paid:=null", {}, False),
        ("customer.country=ES", {"customer": {"country": "ES"}}, True),
        ("customer.country=ES", {"customer": "ES"}, False),
        ("items.1.name=b", {"items": [{"name": "a"}, {"name": "b"}]}, True),
        ("items.5.name=b", {"items": [{"name": "b"}]}, False),
        ("note=a=b", {"note": "a=b"}, True),
    ],
)
def test_a_condition_looks_at_a_field_of_the_event(where: str, value: Any, *, holds: bool) -> None:
    """Text or JSON, by a dotted path; what is missing has no value, and 1 is not true."""
    assert replay_plan.condition(where).holds(value) is holds


@pytest.mark.parametrize("text", ["topic", "=x", ":=1", "a..b=1", "amount:={"])
def test_a_condition_that_is_none_is_refused(text: str) -> None:
    """With what would be one."""
    with pytest.raises(replay_plan.UnreadableCondition, match="write field=value"):
        replay_plan.condition(text)


def test_all_conditions_and_any_of_the_runs_must_be_met() -> None:
    """Options narrow down; a run is named by its id."""
    assert is_taken({"amount": 1, "a": "b"}, "amount=1", "a=b")
    assert not is_taken({"amount": 1, "a": "c"}, "amount=1", "a=b")
    assert isinstance(judge(event(), run_ids=("q", "r")), Envelope)
    assert judge(event(), run_ids=("q",)) is None


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (event(replays=3), "replayed too often, 3 times"),
        (event(parent_id="p"), "a step of a run had sent"),
        (event(type="Other"), "another type"),
        (event({"amount": "many"}), "cannot be read as Ordered"),
    ],
)
def test_an_event_that_can_begin_no_run_is_refused_with_the_reason(
    record: Delivered, reason: str
) -> None:
    """Loops end, and nothing is sent of which it is known that no worker can take it."""
    verdict = judge(record)
    assert isinstance(verdict, Refused)
    assert reason in verdict.reason


def test_events_are_copied_whatever_they_are() -> None:
    """Copies begin no runs, so nothing is asked of them but what was chosen."""
    bare = Delivered("t", 0, 0, 0, None, b"no JSON", [])
    assert isinstance(judge(bare, copy=True), Envelope)
    assert isinstance(judge(event({"amount": "many"}, replays=9), copy=True), Envelope)
    assert judge(bare, copy=True, where=("a=b",)) is None
    assert isinstance(judge(bare), Refused)


def test_an_event_that_a_step_sent_begins_a_run_only_where_that_is_wanted() -> None:
    """`--context empty` says that nothing of its run is needed."""
    assert isinstance(judge(event(parent_id="p"), begins=False), Envelope)


def test_ids_are_derived_from_the_replay_and_the_place() -> None:
    """The same again for whoever goes on; another for every other place or replay."""
    places = [(2, 7), (2, 8), (1, 7)]
    ids = {
        sending.run_id(replay, event(partition=partition, offset=offset))
        for replay in ("one", "two")
        for partition, offset in places
    }
    assert len(ids) == 6
    assert sending.run_id("one", event()) == "replay-one-Ordered-2-7"


def test_what_is_sent_is_the_first_event_of_a_run_of_its_own() -> None:
    """Its limit and foreign headers stay; what tied it to the old run and its fan-outs does not."""
    record = event(epoch=2, parent_id="p", replays=1, timeout_seconds=9.0, traceparent="00-a-b-01")
    caller = Caller(
        workflow="f.p", run_id="p", partition=0, event_id="e", step="s", call="child p 1"
    )
    of_branch = Envelope(
        "r",
        "e",
        "Ordered",
        scope="s",
        order=7,
        batch="b",
        recoveries=(("rescue", 1),),
        caller=caller.written(),
    ).headers()
    record = record._replace(headers=[*record.headers, *of_branch[3:]])
    headers = [*record.headers, ("tenant", b"acme"), ("tracestate", b"x")]
    record = record._replace(headers=headers)
    sent = sending.start_headers("one", record, envelopes.parse(record.headers))
    found = envelopes.parse(sent)
    assert (found.run_id, found.type, found.replays) == ("replay-one-Ordered-2-7", "Ordered", 2)
    assert (found.epoch, found.parent_id, found.traceparent) == (0, "", "")
    assert (found.scope, found.order, found.batch, found.recoveries) == ("", 0, "", ())
    # No step awaits the new run.
    assert found.caller == ""
    assert (found.timeout_seconds, found.event_id != "e") == (9.0, True)
    assert [each for each in sent if not each[0].startswith("fleet-")] == [("tenant", b"acme")]
    assert sent == sending.start_headers("one", record, envelopes.parse(record.headers))


def test_offsets_cut_every_partition_or_only_those_that_are_named() -> None:
    """Both ends are inside."""
    spans = {0: (0, 10), 1: (5, 20), 2: (0, 3)}
    assert selection.bounded(spans, [Place(4)], [Place(8)]) == {
        0: (4, 9),
        1: (5, 9),
        2: (4, 3),
    }
    one = selection.bounded(spans, [Place(7, 1)], [Place(7, 1)])
    assert one == {1: (7, 8)}
    two = selection.bounded(spans, [Place(7, 1), Place(1, 0)], [])
    assert two == {0: (1, 10), 1: (7, 20)}


#: Python has numbers for some of these, Kafka for none.
STRANGE = ("²", "٣", "٣:٤", "1_0", " 1", "1\n", f"{2**63}", f"{2**31}:1", "9" * 5000)


@pytest.mark.parametrize("text", ["", "x", ":3", "1:", "-1", "1:2:3", "1.5", *STRANGE])
def test_an_offset_that_is_none_is_refused(text: str) -> None:
    """With what would be one."""
    with pytest.raises(replay_plan.UnreadablePlace, match="PARTITION:OFFSET"):
        replay_plan.place(text, "--from")


def test_a_limit_takes_the_oldest_of_all_partitions() -> None:
    """As an end for each; a partition whose clock went back is still cut at one offset."""
    found = {0: [(10, 0), (40, 1)], 1: [(20, 4), (30, 6)], 2: [(50, 0)]}
    assert selection.oldest(found, 3) == {0: 1, 1: 7}
    back = {0: [(50, 0), (10, 1)], 1: [(20, 0)]}
    assert selection.oldest(back, 2) == {0: 1, 1: 1}


def test_a_plan_comes_back_from_the_audit_topic_as_it_was() -> None:
    """Whoever goes on takes what was agreed to."""
    agreed = plan(
        rules=Filter(where=("a=b",), run_ids=("r",)), rate=2.5, context={"a": 1}, to_topic="x"
    )
    assert Plan.read(json.loads(json.dumps(agreed.details()))) == agreed


def test_the_preview_counts_by_partition_and_tells_what_is_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything is asked; on stderr, because nothing is done yet."""
    found = Found({0: (3, 9)}, replayed=2, read=9)
    found.counts[0] = 5
    found.refused["cannot be read as StartEvent now"] = 1
    assert replaying._preview(plan(), found)
    told = capsys.readouterr()
    assert told.err.splitlines() == [
        "PARTITION  FROM  TO  EVENTS",
        "0          3     8   5",
        "5 events of t become new runs of joke.",
        "2 of them came from a replay.",
        "Left out: 1 event that cannot be read as StartEvent now.",
    ]
    assert told.out == ""


def test_where_nothing_can_be_replayed_the_reasons_are_told() -> None:
    """As a refusal; where nothing matches there is just nothing to do."""
    found = Found({0: (3, 9)})
    assert not replaying._preview(plan(), found)
    found.refused["had no headers of a run"] = 2
    with pytest.raises(replaying.NothingToReplay, match="Left out: 2 events that had no"):
        replaying._preview(plan(), found)


def test_what_could_not_be_sent_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    """What retention took meanwhile is not counted as sent."""
    replaying._report(plan(), ReplayProgress(5, counts=Counter({0: 5})), "table")
    with pytest.raises(replaying.EventsMissing, match="2 of the 5 events") as told:
        replaying._report(plan(), ReplayProgress(5, counts=Counter({0: 2, 1: 1})), "json")
    assert told.value.exit_code == 3
    shown = json.loads(capsys.readouterr().out)
    assert (shown["events"], shown["sent"], shown["missing"]) == (5, 3, 2)


def test_an_event_is_named_with_its_workflow() -> None:
    """By entry point or module, and it must have a topic."""
    assert replay_plan.target(START).is_start
    assert not replay_plan.target("fleet.joke:JokeFlow.JokeEvent").is_start
    for name in ("joke", "fleet.joke:JokeFlow"):
        with pytest.raises(replay_plan.NoSuchEvent, match=r"joke\.StartEvent"):
            replay_plan.target(name)
    with pytest.raises(replay_plan.NoSuchEvent, match="JokeEvent, StartEvent"):
        replay_plan.target("joke.StopEvent")


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [
        ((START, "--reason", "x"), "say which events"),
        ((START, "--from", "0"), "--reason"),
        (("--from", "0", "--reason", "x"), "WORKFLOW.EVENT"),
        ((START, "--from", "x", "--reason", "x"), "PARTITION:OFFSET"),
        ((START, "--where", "x", "--reason", "x"), "field=value"),
        ((START, "--since", "odd", "--reason", "x"), "2h"),
        ((START, "--rate", "0", "--from", "0", "--reason", "x"), "--rate"),
        (("jok.StartEvent", "--from", "0", "--reason", "x"), "did you mean joke?"),
        (("joke.JokeEvent", "--from", "0", "--reason", "x"), "fleet replay joke.StartEvent"),
        (("joke.JokeEvent", "--from", "0", "--reason", "x", "--context", "f"), "one JSON object"),
        (
            (START, "--from", "0", "--reason", "x", "--context", "empty", "--to-topic", "t"),
            "no --c",
        ),
        (("--resume", "abc", "--limit", "3"), "takes no --limit"),
        ((START, "--resume", "abc"), "takes no WORKFLOW.EVENT"),
    ],
)
def test_wrong_usage_is_2_and_tells_the_way_out(arguments: tuple[str, ...], way_out: str) -> None:
    """A bound is required for what changes; nothing is asked of a broker."""
    result = fleet(*arguments, *NOBODY)
    assert (result.exit_code, result.stdout) == (2, "")
    assert way_out in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [(START, "--from", "0", "--reason", "x", "--yes"), ("--resume", "abc")],
)
def test_without_a_broker_it_is_a_sentence_and_4(arguments: tuple[str, ...]) -> None:
    """So that a script can wait and try again."""
    result = fleet(*arguments, *NOBODY)
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("Error: no Kafka broker answers")
