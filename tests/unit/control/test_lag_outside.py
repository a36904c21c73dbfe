"""Lag seen from outside, on a log in memory: what is looked for, where, and what it comes to."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import log_in_memory
import pytest
from aiokafka import TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from click.testing import CliRunner
from log_in_memory import FIRST_MS, Clients

from fleet.cli import main
from fleet.cli.views import lag as lag_shown
from fleet.control import step_groups
from fleet.control.lag import exporter_metrics, positions, reader
from fleet.control.lag.exporter_metrics import ExporterMetrics
from fleet.control.lag.positions import Positions
from fleet.control.lag.reader import EXACT_OFFSETS, GroupLag, PartitionLag
from fleet.control.step_groups import Membership
from fleet.engine.offsets import OffsetTracker
from fleet.kafka.topic_reader import Reading, Span, TopicReader
from fleet.records import state
from fleet.records.position import Position
from fleet.records.topics import Topics

NAMES = Topics("p", "joke", "main")
START = TopicPartition("p.joke.StartEvent", 0)
STATE = TopicPartition(NAMES.state, 0)


class Reader(TopicReader):
    """Notes the spans that it reads."""

    def __init__(self, log: log_in_memory.Log) -> None:
        super().__init__(Clients(log))  # type: ignore[arg-type]
        self.reads: list[tuple[TopicPartition, Span]] = []

    def read(self, spans: Mapping[TopicPartition, Span], **options: Any) -> Reading:
        self.reads += [(tp, span) for tp, span in spans.items() if span[0] < span[1]]
        return super().read(spans, **options)


class Log(log_in_memory.Log):
    """A log with the topics of one group, and its reader."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = Reader(self)

    @property
    def reads(self) -> list[tuple[TopicPartition, Span]]:
        return self.reader.reads

    def position(self, tracker: OffsetTracker, tp: TopicPartition = START) -> None:
        self.append(STATE, state.position_key(tp.topic), tracker.seal())


class Outside:
    """A reader of one group, as it is kept from look to look."""

    def __init__(self) -> None:
        self.log = Log()
        self.reader = reader._GroupReader(NAMES, self.log.reader)

    async def look(self, committed: int | None, now_ms: float = FIRST_MS) -> PartitionLag:
        offsets = {} if committed is None else {START: committed}
        inputs = await self.reader.look([START], Membership(offsets=offsets))
        return inputs.lag(START, now_ms)


@pytest.fixture
def outside() -> Outside:
    return Outside()


async def test_what_was_never_committed_counts_from_the_beginning(outside: Outside) -> None:
    """Of what is kept: an offset reset is to the earliest."""
    for _ in range(5):
        outside.log.append(START)
    outside.log.begin[START] = 2

    found = await outside.look(None, now_ms=FIRST_MS + 10_000)

    assert (found.committable, found.records, found.exact, found.seconds) == (2, 3, True, 8.0)


async def test_markers_are_nobodys_work(outside: Outside) -> None:
    """However many of them there are behind the last record, and they are read over once."""
    outside.log.append(START)
    outside.log.mark(START, 3 * EXACT_OFFSETS)

    for _ in range(3):
        found = await outside.look(1, now_ms=FIRST_MS + 99_000)
        assert (found.records, found.exact, found.seconds) == (0, True, 0.0)
    assert len(outside.log.reads) == 1

    outside.log.append(START)
    assert (await outside.look(1)).records == 1 + 3 * EXACT_OFFSETS


async def test_offsets_that_are_set_back_are_believed(outside: Outside) -> None:
    """Where the state says nothing else."""
    for _ in range(3):
        outside.log.append(START)
    outside.log.mark(START)
    assert (await outside.look(3)).records == 0

    assert (await outside.look(1)).records == 2


async def test_records_between_markers_are_counted_one_by_one(outside: Outside) -> None:
    """Up to a number of offsets; beyond it each offset counts, and that is said."""
    for _ in range(10):
        outside.log.append(START)
        outside.log.mark(START)
    assert (await outside.look(2)).records == 9

    outside.log.mark(START, EXACT_OFFSETS)
    found = await outside.look(2)
    assert (found.records, found.exact) == (18 + EXACT_OFFSETS, False)


async def test_what_the_state_says_is_done_is_done(outside: Outside) -> None:
    """The group's offset is behind: its worker was killed before it told."""
    for _ in range(3):
        outside.log.append(START)
    outside.log.mark(START)
    outside.log.position(OffsetTracker.restored(3, ()))

    found = await outside.look(0, now_ms=FIRST_MS + 50_000)

    assert (found.committable, found.records, found.seconds) == (3, 0, 0.0)


async def test_what_is_pending_and_what_is_behind_it_is_the_lag(outside: Outside) -> None:
    """Done ones in between are not; the age is that of the oldest pending one."""
    for _ in range(10):
        outside.log.append(START)
    outside.log.position(OffsetTracker.restored(8, (4, 6)))

    found = await outside.look(1, now_ms=FIRST_MS + 30_000)

    assert (found.committable, found.records, found.exact, found.seconds) == (4, 4, True, 26.0)


async def test_a_later_look_sees_what_has_changed(outside: Outside) -> None:
    """The pending one is done, then a new record comes, then that is done, too."""
    for _ in range(3):
        outside.log.append(START)
    outside.log.position(OffsetTracker.restored(3, (1,)))
    assert (await outside.look(0)).records == 1
    outside.log.position(OffsetTracker.restored(3, ()))
    assert (await outside.look(0)).records == 0
    outside.log.append(START)
    found = await outside.look(0)
    assert (found.committable, found.records) == (3, 1)
    outside.log.position(OffsetTracker.restored(4, ()))
    assert (await outside.look(0)).records == 0
    # The offsets catch up at last.
    outside.log.append(START)
    found = await outside.look(4)
    assert (found.committable, found.records) == (4, 1)


async def test_a_look_where_nothing_has_changed_reads_nothing(outside: Outside) -> None:
    """Neither the head nor the state nor what is behind the position."""
    for _ in range(3):
        outside.log.append(START)
    outside.log.position(OffsetTracker.restored(2, (1,)))
    first = await outside.look(0)
    outside.log.reads.clear()

    assert await outside.look(0) == first
    assert outside.log.reads == []


async def test_pending_work_that_retention_has_deleted_is_nobodys(outside: Outside) -> None:
    """Nobody can do it any more."""
    for _ in range(5):
        outside.log.append(START)
    outside.log.position(OffsetTracker.restored(5, (1, 3)))
    outside.log.begin[START] = 2

    found = await outside.look(0)

    assert (found.committable, found.records) == (3, 1)


async def test_a_clock_that_is_behind_makes_no_negative_age(outside: Outside) -> None:
    """The record is from the future of this machine."""
    outside.log.append(START)
    assert (await outside.look(0, now_ms=FIRST_MS - 5_000)).seconds == 0.0


# -- the state, read backwards --------------------------------------------------------------------


async def test_a_position_is_found_without_reading_the_whole_state() -> None:
    """Among a lot of other entries, from the end backwards."""
    log = Log()
    for _ in range(5_000):
        log.append(STATE, b"r\0other", b"{}")
    log.position(OffsetTracker.restored(7, (5,)))
    for _ in range(100):
        log.append(STATE, b"r\0other", b"{}")

    found = await Positions(NAMES.state, log.reader).find({START: 0})

    assert found == {START: Position(7, (5,))}
    assert [end - start for _, (start, end) in log.reads] == [500]


async def test_the_newest_position_counts() -> None:
    """Also where an older one is in a stretch that is read for another topic."""
    log, runs = Log(), TopicPartition(NAMES.runs, 0)
    log.position(OffsetTracker.restored(1, ()))
    log.position(OffsetTracker.restored(2, ()), runs)
    for _ in range(1_000):
        log.append(STATE, b"r\0other", b"{}")
    log.position(OffsetTracker.restored(8, ()))
    log.position(OffsetTracker.restored(9, ()))

    found = await Positions(NAMES.state, log.reader).find({START: 0, runs: 0})

    assert found == {START: Position(9), runs: Position(2)}


async def test_the_search_ends_where_no_position_could_matter() -> None:
    """At what was written before the record was appended, brokers' clocks allowed for."""
    log = Log()
    log.position(OffsetTracker.restored(1, ()))
    for _ in range(100):
        log.append(STATE, b"r\0other", b"{}")

    found = await Positions(NAMES.state, log.reader).find({START: FIRST_MS + 60_000})

    assert found == {}
    assert [start for _, (start, _) in log.reads] == [50]


async def test_an_earlier_search_shortens_a_later_one() -> None:
    """Only what was written since is read; and older things where they were not read before."""
    log = Log()
    log.position(OffsetTracker.restored(1, ()))
    for _ in range(100):
        log.append(STATE, b"r\0other", b"{}")
    positions = Positions(NAMES.state, log.reader)

    assert await positions.find({START: FIRST_MS + 60_000}) == {}
    for _ in range(3):
        log.append(STATE, b"r\0other", b"{}")
        log.reads.clear()
        assert await positions.find({START: 0}) == {START: Position(1)}
    assert [end - start for _, (start, end) in log.reads] == [1]


async def test_the_search_gives_up_in_a_state_that_grows_without_positions() -> None:
    """Whoever makes it grow commits offsets."""
    log = Log()
    for _ in range(2 * positions.MOST_OFFSETS):
        log.append(STATE, b"r\0other", b"{}")

    assert await Positions(NAMES.state, log.reader).find({START: 0}) == {}
    assert sum(end - start for _, (start, end) in log.reads) == positions.MOST_OFFSETS


def test_a_position_record_is_read_as_a_task_writes_it() -> None:
    """The tracker's own encoding, pending offsets included."""
    tracker = OffsetTracker.restored(9, (3, 5))
    position = Position.decode(tracker.seal())
    assert (position.next, position.lowest) == (tracker.next, tracker.lowest)
    assert position.pending == (3, 5)


# -- which groups there are and what they read -----------------------------------------------------


def test_groups_are_those_with_a_state_topic_under_the_prefix() -> None:
    """Not those of another prefix that begins alike, nor a workflow's other topics."""
    topics = ["p.joke.main.state", "p.digest.a.state", "p.x.joke.main.state", "px.joke.main.state"]
    topics += ["p.joke.state", "p.joke.main.dead", "p.audit"]
    assert [each.engine_id for each in step_groups.names(topics, "p")] == [
        "p.digest.a",
        "p.joke.main",
    ]


TOPICS = {f"p.joke.{each}" for each in ("A", "B", "runs", "inbox", "history", "stream")} | {
    "p.joke.one.state",
    "p.joke.one.dead",
    "p.other.C",
}


def reads(**groups: Membership) -> dict[str, set[str]]:
    named = [(Topics("p", "joke", name), found) for name, found in groups.items()]
    found = step_groups.inputs(named, TOPICS)
    return {
        engine_id.rpartition(".")[2]: {each.removeprefix("p.joke.") for each in topics}
        for engine_id, topics in found.items()
    }


def test_a_group_without_workers_reads_all_events_that_nobody_else_does() -> None:
    """And always the runs and what is sent from outside; history and stream are read by tools."""
    assert reads(one=Membership()) == {"one": {"A", "B", "runs", "inbox"}}


def test_a_group_with_workers_reads_what_they_have_subscribed_to() -> None:
    """A topic that is left from an older version is nobody's."""
    subscribed = frozenset({"p.joke.A", "p.joke.runs", "p.joke.inbox", "native"})
    assert reads(one=Membership(subscribed=subscribed)) == {"one": {"A", "runs", "inbox"}}


def test_what_one_group_reads_is_not_anothers() -> None:
    """By its workers, or by what it has committed."""
    committed = {TopicPartition("p.joke.A", 3): 7, TopicPartition("native", 0): 1}
    found = reads(one=Membership(offsets=committed), two=Membership())
    assert found == {"one": {"A", "B", "runs", "inbox"}, "two": {"B", "runs", "inbox"}}


def test_subscriptions_are_read_from_the_members() -> None:
    """In a rebalance they say nothing."""
    encoded = ConsumerProtocolMemberMetadata(0, ["a", "b"], b"").encode()
    assert step_groups.subscription([encoded, b""]) == {"a", "b"}


# -- what is shown ---------------------------------------------------------------------------------


def group(*partitions: PartitionLag, members: int = 1) -> GroupLag:
    return GroupLag("joke", "main", "Stable", members, partitions)


BEHIND = group(
    PartitionLag("t", 0, 5, 9, records=4, seconds=1.5),
    PartitionLag("t", 1, 0, 2_000, records=2_000, exact=False, seconds=12.0),
    PartitionLag("u", 0, 3, 3),
    members=0,
)


def test_rows_are_of_topics_or_of_partitions() -> None:
    """A number that may be too large has a sign."""
    rows = lag_shown.rows([BEHIND], partitions=False)
    assert [tuple(row.values()) for row in rows] == [
        ("joke", "main", "t", "2 of 2", "≤ 2,004", "12.0"),
        ("joke", "main", "u", "0 of 1", "0", "0.0"),
    ]
    found = [row["records"] for row in lag_shown.rows([BEHIND], partitions=True)]
    assert found == ["4", "≤ 2,000", "0"]


def test_notes_say_what_numbers_do_not() -> None:
    """That nobody works there, and what the sign means."""
    assert list(lag_shown.notes([BEHIND])) == [
        "joke.main: no worker is in its group: start one with `faust -A MODULE worker -l info`.",
        "≤: at most this many; markers of transactions take offsets, too.",
    ]
    assert list(lag_shown.notes([group(PartitionLag("t", 0, 1, 1))])) == []


@pytest.mark.parametrize("limit", [None, 12.0, 50])
def test_a_limit_that_is_kept_is_silent(limit: float | None) -> None:
    """Also the very number."""
    lag_shown.check([BEHIND], limit)
    lag_shown.check([], limit)


def test_a_limit_that_is_crossed_names_the_worst_partition() -> None:
    """With 5."""
    with pytest.raises(lag_shown.LagAbove, match=r"12\.0 s behind in t\[1\].*no worker") as above:
        lag_shown.check([group(), BEHIND], 11)
    assert above.value.exit_code == 5


def samples(metrics: ExporterMetrics) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_the_exporter_forgets_lag_when_a_look_fails() -> None:
    """No old number is left standing; before the first look it is down, too."""
    metrics = ExporterMetrics()
    assert samples(metrics)["fleet_exporter_up"] == [({}, 0)]
    metrics.looked([BEHIND], 0.1)
    seen = samples(metrics)
    assert seen["fleet_exporter_up"] == [({}, 1)]
    assert [value for _, value in seen["fleet_lag_seconds"]] == [1.5, 12.0, 0.0]
    assert [value for _, value in seen["fleet_lag_records"]] == [4, 2_000, 0]
    assert [value for _, value in seen["fleet_committable_offset"]] == [5, 0, 3]
    assert seen["fleet_group_members"] == [({"workflow": "joke", "group": "main"}, 0)]
    metrics.looked(None, 8.0)
    gone = samples(metrics)
    assert gone["fleet_exporter_up"] == [({}, 0)]
    assert not {"fleet_lag_seconds", "fleet_lag_records", "fleet_group_members"} & set(gone)
    assert gone["fleet_exporter_scrape_seconds_count"] == [({}, 2)]


def test_every_family_of_the_exporter_is_listed_with_its_labels() -> None:
    """What the documentation and other tests go by is what is exported."""
    metrics = ExporterMetrics()
    metrics.looked([BEHIND], 0.1)
    found = {family.name: family.samples[0].labels for family in metrics.registry.collect()}
    listed = {name: set(labels) for name, labels in exporter_metrics.LABELS.items()}
    own = {name: labels for name, labels in found.items() if not name.endswith("_created")}
    assert set(own) == set(listed)
    for name, labels in listed.items():
        assert set(own[name]) - {"le"} == labels


def test_the_page_about_lag_names_each_of_them() -> None:
    """With type and labels; and no other."""
    page = (Path(__file__).parents[3] / "docs" / "lag.md").read_text()
    rows = re.findall(r"^\| `(fleet_\w+)` \| \w+ \| (.*?) \|", page, re.MULTILINE)
    documented = {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert documented == exporter_metrics.LABELS


@pytest.mark.parametrize(
    "command", [["lag"], ["lag", "joke", "--json"], ["groups", "list", "-o", "json"]]
)
def test_no_broker_is_a_sentence_and_4(command: list[str]) -> None:
    """Nothing on stdout."""
    result = CliRunner().invoke(main.main, [*command, "--broker", "kafka://127.0.0.1:1"])
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("Error: no Kafka broker answers")
