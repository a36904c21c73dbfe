"""Transitions: what each thing that happens changes, in whatever order things happen."""

import itertools
from typing import Any

import pytest

from fleet import Event, FleetError, StartEvent, StopEvent, UnhandledEvent, step
from fleet.engine.transitions import (
    ends,
    failures,
    lifecycle_records,
    results,
    run_history,
    runs,
    starts,
    suspending,
)
from fleet.engine.transitions.draft import Draft, Due, Ended, RunResumed, Wiring, Work
from fleet.engine.transitions.failures import StepFailed
from fleet.engine.transitions.outcomes import Returned, Sent
from fleet.engine.transitions.resolve import Rejected, Resolver
from fleet.engine.transitions.results import Moment
from fleet.engine.transitions.runs import Admission, End, Entrance, Run
from fleet.engine.transitions.sizes import MAX_RECORD_BYTES, MAX_VALUE_BYTES, RecordTooLarge
from fleet.engine.transitions.suspended import Suspended, Tries, Until
from fleet.records import envelope as envelopes
from fleet.records import lifecycle, state
from fleet.records.dead_letter import DeadLetter, Reason
from fleet.records.envelope import Envelope, child_id
from fleet.records.events import decoded, encoded, type_name
from fleet.records.lifecycle import (
    Cancelled,
    Completed,
    Failed,
    Known,
    Lifecycle,
    Started,
    StepRecord,
    TimedOut,
)
from fleet.records.log import Delivered, Outgoing
from fleet.records.state import MemoryState, Overlay
from fleet.records.topics import Topics
from fleet.workflow import definition
from fleet.workflow.definition import Definition

TOPICS = Topics("fleet", "joke", "main")
MB = 1024 * 1024


class JokeEvent(Event):
    joke: str = ""


class Unsent(Event):
    """An event that no step takes."""


class Judgement(StopEvent):
    verdict: str = ""


class JokeFlow(Definition):
    @step
    async def generate(self, ev: StartEvent) -> JokeEvent:
        return JokeEvent()

    @step
    async def critique(self, ev: JokeEvent) -> StopEvent:
        return StopEvent()

    @step
    async def count(self, ev: JokeEvent) -> None:
        """Nothing is returned."""


GRAPH = definition.graph(JokeFlow)
WIRING = Wiring(GRAPH, TOPICS)


class Group:
    """A step group without a runtime: one draft, and a log of what it appends."""

    def __init__(self) -> None:
        self.resolver = Resolver(WIRING, lambda: 1)
        self.draft = Draft(Overlay(MemoryState()))
        #: Next offset of `runs`.
        self.position = 0

    def start(
        self, event_id: str = "s1", run_id: str = "r", timeout: float | None = None, **fields: Any
    ) -> Admission:
        """Deliver a start event; return what becomes of it."""
        envelope = Envelope(
            run_id=run_id, event_id=event_id, type="StartEvent", timeout_seconds=timeout
        )
        return self.enter(delivered(envelope, StartEvent(**fields)), envelope)

    def enter(self, record: Delivered, envelope: Envelope) -> Admission:
        """Let an event enter its run; return what becomes of it."""
        entrance = self.resolver._entrance(self.draft.state, record, envelope, self.position)
        starts.enter(self.draft, TOPICS, record, envelope, entrance)
        return entrance.admission

    def reject(
        self, record: Delivered, envelope: Envelope | None, reason: Reason, error: BaseException
    ) -> None:
        """Take a record that cannot be processed."""
        entrance = Entrance(Admission.RUN)
        if envelope is not None:
            entrance = self.resolver._entrance(self.draft.state, record, envelope, self.position)
        rejected = Rejected(envelope, entrance, reason, error)
        failures.rejected(self.draft, TOPICS, record, rejected)

    def happens(
        self, happening: Lifecycle, run_id: str = "r", epoch: int = 0, appended_ms: int = 1_000
    ) -> Ended | Due | RunResumed | None:
        """Deliver a record of `runs`, at its next offset."""
        envelope = Envelope(run_id=run_id, event_id="x", type=happening.kind, epoch=epoch)
        record = delivered(
            envelope, happening, topic=TOPICS.runs, offset=self.position, appended_ms=appended_ms
        )
        self.position += 1
        return lifecycle_records.take(self.draft, TOPICS, record, envelope, happening)

    def admits(self, run_id: str = "r", epoch: int = 0) -> Admission:
        """Tell what becomes of another event of a run."""
        envelope = Envelope(run_id=run_id, event_id="e", type="JokeEvent", epoch=epoch)
        return runs.admit(runs.end_of(self.draft.state, run_id), envelope.epoch)

    def written(self, topic: str = TOPICS.runs) -> list[Any]:
        """Return what was appended to *topic*; of `runs`, as lifecycle records."""
        records = [record for record in self.draft.records if record.topic == topic]
        if topic != TOPICS.runs:
            return records
        return [lifecycle.decode(read(each).type, each.value or b"") for each in records]

    def keys(self) -> list[bytes]:
        """Return the keys of the state."""
        return [key for key, _ in self.draft.state.items(b"")]

    @property
    def run(self) -> Run | None:
        value = self.draft.state.get(state.run_key("r"))
        return Run.decode(value) if value is not None else None

    @property
    def end(self) -> End | None:
        value = self.draft.state.get(state.end_key("r"))
        return End.decode(value) if value is not None else None


def read(record: Outgoing) -> Envelope:
    """Return the envelope of a record."""
    return envelopes.parse(record.headers)


def delivered(
    envelope: Envelope,
    content: Event | Lifecycle,
    topic: str = "",
    offset: int = 0,
    appended_ms: int = 1_000,
) -> Delivered:
    """Return a record as a log would hand it out."""
    return Delivered(
        topic=topic or TOPICS.event(envelope.type),
        partition=0,
        offset=offset,
        appended_ms=appended_ms,
        key=envelope.run_id.encode(),
        value=encoded(content) if isinstance(content, Event) else content.encode(),
        headers=envelope.headers(),
    )


def work(name: str = "critique", event: Event | None = None, **parts: Any) -> Work:
    """Return one step to be run for an event of run r."""
    event = event or JokeEvent(joke="x")
    envelope = Envelope(**{"run_id": "r", "event_id": "e1", "type": type_name(event)} | parts)
    record = delivered(envelope, event, offset=5)
    return Work(record, envelope, event, GRAPH.step_by_name[name])


def failed(error: BaseException = KeyError("x")) -> Failed:  # noqa: B008 - never changed
    """Return the record of a failed step."""
    group = Group()
    failures.step_failed(group.draft, WIRING, work(), StepFailed(error))
    (record,) = group.written()
    assert isinstance(record, Failed)
    return record


COMPLETED = Completed(step="critique", event_type="StopEvent", event='{"result":1}')
ENDS: list[Lifecycle] = [COMPLETED, failed(), Cancelled(), TimedOut(timeout_seconds=1)]
AWAITING_RESUME = ENDS[1:]


@pytest.fixture
def group() -> Group:
    return Group()


class TestStart:
    def test_a_start_keeps_the_run_and_writes_that_it_started(self, group: Group) -> None:
        """State and `started` are part of one commit, and the steps may run."""
        assert group.start("s1", timeout=5, topic="x") is Admission.RUN
        assert group.run is not None
        assert (group.run.start_event_id, group.run.timeout_seconds) == ("s1", 5)
        assert group.written() == [Started(start_event_id="s1", timeout_seconds=5)]
        assert read(group.draft.records[0]).run_id == "r"
        assert group.draft.records[0].key == b"r"

    def test_the_same_start_event_again_runs_its_steps_and_writes_nothing(
        self, group: Group
    ) -> None:
        """As after a crash between its commit and its steps' end."""
        group.start("s1")
        assert group.start("s1") is Admission.RUN
        assert len(group.written()) == 1

    @pytest.mark.parametrize("terminal", ENDS, ids=lambda each: each.kind)
    def test_the_same_start_event_after_the_end_is_what_its_run_is(
        self, group: Group, terminal: Lifecycle
    ) -> None:
        """Frozen with a run that can be resumed, dropped with one that is over; nobody asked."""
        group.start("s1")
        group.happens(terminal)
        resumable = terminal.kind != "completed"
        assert group.start("s1") is (Admission.SUSPEND if resumable else Admission.DROP)
        assert len(group.written()) == 1

    def test_a_repeated_start_is_answered_and_starts_nothing(self, group: Group) -> None:
        """Both while the run goes on and after it, with where to read."""
        group.start("s1", topic="x")
        group.position = 4
        assert group.start("s2", topic="x") is Admission.DROP
        group.happens(COMPLETED)
        assert group.start("s3", topic="x") is Admission.DROP
        assert group.written()[1:] == [
            Known(start_event_id="s2", read_from=4),
            Known(start_event_id="s3", end_offset=4, read_from=5),
        ]

    def test_other_fields_are_a_conflict(self, group: Group) -> None:
        """The id was used for something else, during the run and after it."""
        group.start("s1", topic="x")
        group.start("s2", topic="y")
        group.happens(Cancelled())
        group.start("s3", topic="y")
        assert [each.conflict for each in group.written()[1:]] == [True, True]

    def test_the_order_of_fields_is_no_conflict(self, group: Group) -> None:
        """The same fields are the same start, in whatever order somebody writes them."""
        group.start("s1", topic="x", style={"a": 1, "b": 2})
        group.start("s2", style={"b": 2, "a": 1}, topic="x")
        assert not group.written()[1].conflict

    def test_a_value_that_is_no_json_has_a_fingerprint_too(self, group: Group) -> None:
        """What cannot be read is refused elsewhere; it must not stop anything here."""
        envelope = Envelope(run_id="r", event_id="s1", type="StartEvent")
        record = Delivered("t", 0, 0, 1, b"r", b"\xff{", envelope.headers())
        record = record._replace(topic=TOPICS.event("StartEvent"))
        assert group.enter(record, envelope) is Admission.RUN

    def test_runs_do_not_know_each_other(self, group: Group) -> None:
        """An id that begins like another's is another run."""
        group.start("s1", run_id="r")
        group.happens(COMPLETED, run_id="r")
        assert group.start("s2", run_id="r2") is Admission.RUN

    def test_an_event_before_its_start_leaves_the_run_to_begin(self, group: Group) -> None:
        """The run is noticed once, and begins when its start comes."""
        early = work()
        for _ in range(2):
            group.enter(early.record, early.envelope)
        assert group.run is None
        kept = group.draft.state.get(state.seen_key("r"))
        assert kept is not None
        assert Run.decode(kept) == Run(seen_ms=1_000)
        assert group.start("s1") is Admission.RUN
        group.enter(early.record, early.envelope)
        assert group.run is not None
        assert group.run.start_event_id == "s1"
        assert group.draft.state.get(state.seen_key("r")) is None


class TestOrder:
    @pytest.mark.parametrize("terminal", ENDS, ids=lambda each: each.kind)
    def test_every_order_of_start_end_repeat_and_late_end(self, terminal: Lifecycle) -> None:
        """In each order the run has one end, starts at most once, and every repeat is answered."""
        acts = ["start", "repeat", "end", "late"]
        for order in itertools.permutations(acts):
            group, began = Group(), []
            for act in order:
                if act in ("start", "repeat"):
                    began += [act] if group.start(act, topic="x") is Admission.RUN else []
                if act == "end":
                    group.happens(terminal)
                if act == "late":
                    group.happens(Cancelled(reason="late"))
            self.check(group, order, began, terminal)

    def check(
        self, group: Group, order: tuple[str, ...], began: list[str], terminal: Lifecycle
    ) -> None:
        first_start = min(order.index("start"), order.index("repeat"))
        first_end = min(order.index("end"), order.index("late"))
        assert len(began) == (1 if first_start < first_end else 0), order
        assert group.end is not None
        expected = terminal.kind if order[first_end] == "end" else "cancelled"
        assert (group.end.outcome, group.end.offset) == (expected, 0), order
        answers = {each.start_event_id: each for each in group.written()}
        assert answers.keys() == {"start", "repeat"}, order
        for name, answer in answers.items():
            assert isinstance(answer, Started) == (name in began), order
            ended_before = order.index(name) > first_end
            if isinstance(answer, Known):
                assert answer.end_offset == (0 if ended_before else None), order
                assert not answer.conflict, order

    def test_a_newer_epoch_ends_again(self, group: Group) -> None:
        """A resumed run's end counts; the old epoch's late ones do not."""
        group.start("s1")
        assert group.happens(failed()) == Ended("r", "failed", 0)
        assert group.admits(epoch=1) is Admission.RUN
        assert group.happens(COMPLETED, epoch=1) == Ended("r", "completed", 0)
        assert group.happens(Cancelled(), epoch=0) is None
        assert group.happens(Cancelled(), epoch=1) is None
        assert group.end is not None
        assert (group.end.outcome, group.end.epoch, group.end.offset) == ("completed", 1, 1)


class TestEnd:
    def test_after_completed_nothing_is_kept_but_the_end(self, group: Group) -> None:
        """Context and suspended work of the run go in the commit that reads the end."""
        self.fill(group)
        assert group.happens(COMPLETED) == Ended("r", "completed", 0)
        assert group.keys() == [b"c\0other\0a", b"e\0r", b"k\0other\0e\0s"]
        assert group.admits() is Admission.DROP

    @pytest.mark.parametrize("terminal", AWAITING_RESUME, ids=lambda each: each.kind)
    def test_without_a_result_the_state_is_kept(self, group: Group, terminal: Lifecycle) -> None:
        """Everything stays for whoever resumes the run, and later events wait with it."""
        self.fill(group)
        before = group.keys()
        assert group.happens(terminal) == Ended("r", terminal.kind, 0)
        assert group.keys() == sorted([*before, b"e\0r"])
        assert group.admits() is Admission.SUSPEND

    @pytest.mark.parametrize("terminal", ENDS, ids=lambda each: each.kind)
    def test_forgetting_removes_the_rest(self, group: Group, terminal: Lifecycle) -> None:
        """Afterwards the id is as good as new, and other runs have lost nothing."""
        self.fill(group)
        group.happens(terminal)
        ends.forget(group.draft, "r", resumable=terminal.kind != Completed.kind)
        assert group.keys() == [b"c\0other\0a", b"k\0other\0e\0s"]
        assert group.start("s9") is Admission.RUN

    @pytest.mark.parametrize("terminal", ENDS, ids=lambda each: each.kind)
    def test_forgetting_a_run_without_a_start_removes_its_joins(
        self, group: Group, terminal: Lifecycle
    ) -> None:
        """As of a replay from its middle: what it held is known also after its end."""
        envelope = Envelope(run_id="r", event_id="e", type="JokeEvent")
        group.enter(delivered(envelope, JokeEvent()), envelope)
        group.draft.state.put(state.member_prefix("r", "-", "join") + b"1\0e", b"JokeEvent\0{}")
        runs.mark_held(group.draft.state, "r")
        group.happens(terminal)
        ends.forget(group.draft, "r", resumable=terminal.kind != Completed.kind)
        assert group.keys() == []

    def test_what_is_no_end_ends_nothing(self, group: Group) -> None:
        """Started and known records change nothing about a run's end."""
        group.start("s1")
        assert group.happens(Started(start_event_id="s1")) is None
        assert group.happens(Known(start_event_id="s2")) is None
        assert group.end is None

    def fill(self, group: Group) -> None:
        group.start("s1")
        runs.mark_context(group.draft.state, "r")
        for run_id in ("r", "other"):
            group.draft.state.put(state.context_prefix(run_id) + b"a", b"1")
            group.draft.state.put(state.awaiting_key(run_id, "e", "s"), b"{}")


class TestDeadline:
    STARTED = Started(start_event_id="s1", timeout_seconds=2)

    def test_it_is_set_when_started_is_read(self, group: Group) -> None:
        """Only then the broker's time of the beginning is known."""
        group.start("s1", timeout=2)
        assert self.restored(group) == []
        assert group.happens(self.STARTED, appended_ms=10_000) == Due("r", 12_000)
        assert self.restored(group) == [Due("r", 12_000)]

    def test_it_is_set_once(self, group: Group) -> None:
        """A second `started` neither moves it nor reports it again."""
        group.start("s1", timeout=2)
        group.happens(self.STARTED, appended_ms=10_000)
        assert group.happens(self.STARTED, appended_ms=50_000) is None
        assert self.restored(group) == [Due("r", 12_000)]

    def test_an_unknown_or_ended_run_has_none(self, group: Group) -> None:
        """`started` may be read after the end, and by groups that never saw the start."""
        assert group.happens(self.STARTED) is None
        group.start("s1", timeout=2)
        group.happens(Cancelled())
        assert group.happens(self.STARTED) is None
        assert self.restored(group) == []

    def test_an_ended_run_times_out_no_more(self, group: Group) -> None:
        """A run that can be resumed keeps its entry."""
        group.start("s1", timeout=2)
        group.happens(self.STARTED)
        group.happens(Cancelled())
        before = list(group.draft.records)
        for due in self.restored(group):
            ends.timed_out(group.draft, TOPICS, due.run_id, ())
        assert group.draft.records == before

    def restored(self, group: Group) -> list[Due]:
        return list(ends.deadlines(group.draft.state.items(state.RUN)))

    def test_a_deadline_that_passes_is_written_with_the_active_steps(self, group: Group) -> None:
        """The record names timeout and steps, sorted, and nothing ends until it is read."""
        group.start("s1", timeout=2)
        ends.timed_out(group.draft, TOPICS, "r", {"b", "a"})
        assert group.written()[1:] == [TimedOut(timeout_seconds=2, active_steps=("a", "b"))]
        assert group.end is None

    def test_it_says_what_suspended_steps_wait_for(self, group: Group) -> None:
        """Of each the step and the time, and of very many the first ones."""
        group.start("s1", timeout=2)
        runs.mark_held(group.draft.state, "r")
        for number in range(25):
            key = state.waiting_key("r", f"e{number:02}", "work")
            tries = Tries(failed=number) if number else None
            due_ms = number if number < 2 else 10**15 - 1
            entry = Suspended(topic="t", headers=(), step="work", due_ms=due_ms, tries=tries)
            group.draft.state.put(key, entry.encode())
        ends.timed_out(group.draft, TOPICS, "r", ())
        (ending,) = group.written()[1:]
        assert isinstance(ending, TimedOut)
        assert ending.waiting[:2] == (
            "work: sleeps until 1970-01-01T00:00:00Z",
            "work: attempt 2 at 1970-01-01T00:00:00Z",
        )
        assert ending.waiting[2] == "work: attempt 3 at 9999-12-31T23:59:59Z"
        assert (len(ending.waiting), ending.waiting[-1]) == (21, "and more")

    def test_nothing_is_written_for_a_run_that_ended_before(self, group: Group) -> None:
        """A result that came in time is the result; an unknown run has no deadline."""
        ends.timed_out(group.draft, TOPICS, "r", ())
        group.start("s1", timeout=2)
        group.happens(Cancelled())
        ends.timed_out(group.draft, TOPICS, "r", ())
        assert [type(each) for each in group.written()] == [Started]


class TestReturned:
    def returned(self, group: Group, *sent: Sent, **changes: bytes) -> list[Outgoing]:
        prefix = state.context_prefix("r")
        outcome = Returned(tuple(sent), {prefix + k.encode(): v for k, v in changes.items()})
        results.returned(group.draft, WIRING, work(replays=2, epoch=3), outcome, Moment(1))
        return group.draft.records

    def test_an_event_goes_to_its_topic_with_an_envelope(self, group: Group) -> None:
        """Run, epoch, replays and parent go on; the id is derived."""
        (record,) = self.returned(group, Sent(JokeEvent(joke="y")))
        assert (record.topic, record.key) == (TOPICS.event("JokeEvent"), b"r")
        assert record.value == b'{"joke":"y"}'
        assert read(record) == Envelope(
            run_id="r",
            event_id=child_id("e1", "critique", 0),
            type="JokeEvent",
            epoch=3,
            parent_id="e1",
            replays=2,
        )

    def test_events_keep_their_order_and_have_ids_of_their_own(self, group: Group) -> None:
        """What was sent first is first in the log."""
        records = self.returned(group, *(Sent(JokeEvent(joke=str(n))) for n in range(3)))
        assert [record.value for record in records] == [b'{"joke":"%d"}' % n for n in range(3)]
        assert [read(each).event_id for each in records] == [
            child_id("e1", "critique", n) for n in range(3)
        ]

    def test_an_event_for_one_step_names_it(self, group: Group) -> None:
        """`send_event(ev, step=...)` is in the envelope."""
        (record,) = self.returned(group, Sent(JokeEvent(), "count"))
        assert read(record).step == "count"

    @pytest.mark.parametrize("result", [StopEvent(result=1), Judgement(verdict="good")])
    def test_a_result_is_a_completed_record(self, group: Group, result: StopEvent) -> None:
        """It goes to `runs` with its type and JSON; the run ends when that is read."""
        self.returned(group, Sent(result))
        (completed,) = group.written()
        assert completed == Completed(
            step="critique", event_type=type_name(result), event=encoded(result).decode()
        )
        assert group.end is None

    def test_a_result_brings_the_context(self, group: Group) -> None:
        """With what the step itself has changed; a large one leaves its size."""
        group.draft.state.put(state.context_prefix("r") + b"a.b", b"1")
        self.returned(group, Sent(StopEvent(result=1)), c=b"2")
        (completed,) = group.written()
        assert isinstance(completed, Completed)
        assert (completed.context, completed.context_bytes) == ('{"a":{"b":1},"c":2}', 0)
        group.draft.records.clear()
        self.returned(group, Sent(StopEvent(result=1)), d=b'"%b"' % (b"x" * 100_000))
        (completed,) = group.written()
        assert isinstance(completed, Completed)
        assert completed.context == ""
        assert completed.context_bytes > 100_000

    def test_a_result_without_a_context_has_nothing_of_it(self, group: Group) -> None:
        """Its record is as it was."""
        self.returned(group, Sent(StopEvent(result=1)))
        (record,) = group.draft.records
        assert (
            record.value
            == b'{"step":"critique","event_type":"StopEvent","event":"{\\"result\\":1}"}'
        )

    def test_context_changes_are_in_the_same_draft(self, group: Group) -> None:
        """Values and events take effect together."""
        self.returned(group, Sent(JokeEvent()), a=b"1", b=b"2")
        assert group.keys() == [b"c\0r\0a", b"c\0r\0b"]

    def test_a_deleted_value_is_gone(self, group: Group) -> None:
        """None among the changes deletes."""
        prefix = state.context_prefix("r")
        self.returned(group, a=b"1", b=b"2")
        outcome = Returned((), {prefix + b"a": None})
        results.returned(group.draft, WIRING, work(), outcome, Moment(1))
        assert group.keys() == [prefix + b"b"]

    @pytest.mark.parametrize(
        ("sent", "step"),
        [(Sent(Unsent()), None), (Sent(JokeEvent(), "generate"), "generate")],
    )
    @pytest.mark.parametrize("alone", [True, False])
    def test_an_event_that_no_step_takes_is_shown_and_starts_nothing(
        self, group: Group, sent: Sent, step: str | None, alone: bool
    ) -> None:
        """The stream's record goes with the result, and no topic of events gets one."""
        outcome = Returned((sent,), {})
        assert results.returned(group.draft, WIRING, work(), outcome, Moment(1, alone)) == [
            type_name(sent.event)
        ]
        (record,) = group.draft.records
        assert (record.topic, record.key) == (TOPICS.stream, b"r")
        kind = type(sent.event)
        assert decoded(UnhandledEvent, record.value or b"") == UnhandledEvent(
            event_type=kind.__name__,
            qualified_name=f"{kind.__module__}.{kind.__name__}",
            step_name=step,
            idle=alone,
        )
        event_id = child_id("e1", "critique", 0)
        assert read(record)[:5] == ("r", f"{event_id}-0", "UnhandledEvent", 0, event_id)

    def test_the_rest_of_a_result_goes_on(self, group: Group) -> None:
        """Other events of it go to their steps; then nothing is idle."""
        first, second = self.returned(group, Sent(Unsent()), Sent(JokeEvent()))
        assert (first.topic, second.topic) == (TOPICS.stream, TOPICS.event("JokeEvent"))
        assert not decoded(UnhandledEvent, first.value or b"").idle

    @pytest.mark.parametrize(
        "sent",
        [
            Sent(JokeEvent(joke="x" * MB)),
            Sent(StopEvent(result="x" * MB)),
            # Fits as it is, but not once it is text inside the record of the run's end.
            Sent(StopEvent(result="\0" * (MAX_VALUE_BYTES // 7))),
        ],
        ids=["event", "result", "escaped"],
    )
    def test_an_event_that_no_record_holds_is_refused(self, group: Group, sent: Sent) -> None:
        """It is found before the commit, which it would make impossible."""
        with pytest.raises(RecordTooLarge, match=r"has [\d,]+ bytes, and a record holds 1,000,000"):
            self.returned(group, Sent(JokeEvent()), sent, a=b"1")
        self.nothing_happened(group)

    def test_a_context_value_that_no_record_holds_is_refused(self, group: Group) -> None:
        """None of the attempt's other values is kept, whichever comes first."""
        with pytest.raises(RecordTooLarge, match="the context of run r has"):
            self.returned(group, Sent(JokeEvent()), a=b"1", b=b"x" * MB, c=b"3")
        self.nothing_happened(group)

    def test_an_event_that_json_cannot_carry_is_refused(self, group: Group) -> None:
        """It is the step's failure, with an error of ours."""
        with pytest.raises(FleetError, match="StopEvent cannot be sent: result: "):
            self.returned(group, Sent(JokeEvent()), Sent(StopEvent(result=object())), a=b"1")
        self.nothing_happened(group)

    def nothing_happened(self, group: Group) -> None:
        assert group.draft.records == []
        assert group.keys() == []


class TestFailures:
    def letter(self, group: Group) -> tuple[Outgoing, DeadLetter]:
        (record,) = group.written(TOPICS.dead)
        note = dict(record.headers)["fleet-dead-letter"]
        letter = DeadLetter.model_validate_json(note)
        # Whoever counts them counts what is appended.
        assert letter in [each for _, each in group.draft.letters]
        return record, letter

    def test_a_failed_step_is_a_dead_letter_and_fails_its_run(self, group: Group) -> None:
        """Both say what was raised where; the letter's value is the event, untouched."""
        second = work()._replace(tries=Tries(failed=1))
        failures.step_failed(group.draft, WIRING, second, StepFailed(KeyError("x")))
        (happening,) = group.written()
        assert isinstance(happening, Failed)
        assert (happening.step, happening.event_id, happening.attempt) == ("critique", "e1", 2)
        record, letter = self.letter(group)
        assert record.value == b'{"joke":"x"}'
        assert read(record) == work().envelope
        assert (letter.reason, letter.step, letter.attempts) == ("failed", "critique", 2)
        assert (letter.topic, letter.partition, letter.offset) == ("fleet.joke.JokeEvent", 0, 5)
        assert letter.failure == happening.failure

    def test_a_rejected_record_fails_its_run(self, group: Group) -> None:
        """A record that cannot be processed is no step's failure, and still the run's."""
        record, envelope = work().record, work().envelope
        group.reject(record, envelope, Reason.UNDECODABLE, ValueError("x"))
        (happening,) = group.written()
        assert (happening.step, happening.attempt, happening.event_id) == ("", 0, "e1")
        assert self.letter(group)[1].reason == "undecodable"

    def test_a_rejected_record_of_nobody_fails_nothing(self, group: Group) -> None:
        """Without an envelope there is no run."""
        group.reject(work().record, None, Reason.BROKEN_ENVELOPE, ValueError())
        assert group.written() == []
        assert self.letter(group)[1].reason == "broken_envelope"

    @pytest.mark.parametrize("terminal", ENDS, ids=lambda each: each.kind)
    def test_a_rejected_record_of_an_ended_run_changes_no_end(
        self, group: Group, terminal: Lifecycle
    ) -> None:
        """It is a dead letter all the same."""
        group.happens(terminal)
        record, envelope = work().record, work().envelope
        group.reject(record, envelope, Reason.UNDECODABLE, ValueError("x"))
        assert group.written() == []
        assert self.letter(group)[1].reason == "undecodable"

    @pytest.mark.parametrize(
        ("value", "headers", "kept"),
        [
            (b"x" * 900_000, [("a", b"b")], (900_000, True)),
            (b"x" * MAX_RECORD_BYTES, [("a", b"b")], (0, True)),
            (b"x", [("a", b"x" * MAX_RECORD_BYTES)], (0, False)),
            (None, [("a", None)], (0, True)),
        ],
        ids=["fits", "large value", "large headers", "tombstone"],
    )
    def test_a_dead_letter_always_fits_a_record(
        self,
        group: Group,
        value: bytes | None,
        headers: list[tuple[str, bytes]],
        kept: tuple[int, bool],
    ) -> None:
        """What does not fit is left out, the note never: it says where the original is."""
        record = Delivered("t", 1, 2, 3, b"r", value, headers)
        group.reject(record, None, Reason.BROKEN_ENVELOPE, ValueError("x"))
        buried, letter = self.letter(group)
        size = len(buried.value or b"") + sum(len(text or b"") for _, text in buried.headers)
        assert size <= MAX_RECORD_BYTES
        assert (len(buried.value or b""), "a" in dict(buried.headers)) == kept
        assert (letter.topic, letter.partition, letter.offset) == ("t", 1, 2)


class TestSuspend:
    def test_a_suspended_step_keeps_all_that_it_needs(self, group: Group) -> None:
        """Envelope, value, topic and step, under the run's own prefix."""
        suspending.suspend(group.draft, TOPICS, work())
        ((key, value),) = group.draft.state.items(state.awaiting_prefix("r"))
        assert key == state.awaiting_key("r", "e1", "critique")
        suspended = Suspended.decode(value)
        assert envelopes.parse(suspended.headers) == work().envelope
        assert (suspended.topic, suspended.step, suspended.until) == (
            "fleet.joke.JokeEvent",
            "critique",
            Until.RESUME,
        )
        assert decoded(JokeEvent, suspended.value) == JokeEvent(joke="x")

    def test_two_steps_of_one_event_are_kept_apart(self, group: Group) -> None:
        """Each step of an event waits for itself."""
        for name in ("critique", "count", "critique"):
            suspending.suspend(group.draft, TOPICS, work(name))
        assert len(list(group.draft.state.items(state.AWAITING_RESUME))) == 2

    def test_what_no_state_entry_holds_is_a_dead_letter(self, group: Group) -> None:
        """An entry that the changelog refuses would stop the partition for good."""
        large = work(event=JokeEvent(joke="x" * 1_050_000))
        suspending.suspend(group.draft, TOPICS, large)
        assert group.keys() == []
        (record,) = group.written(TOPICS.dead)
        letter = DeadLetter.model_validate_json(dict(record.headers)["fleet-dead-letter"])
        assert (letter.reason, letter.step, letter.offset) == ("too_large", "critique", 5)
        assert group.draft.letters == [("r", letter)]


class TestHistory:
    def test_an_attempt_is_noted_with_its_event(self, group: Group) -> None:
        """The record's key is the run, its parent the event before."""
        entry = StepRecord(
            step="critique",
            group="main",
            event_id="e1",
            event_type="JokeEvent",
            attempt=1,
            queued=1,
            started=2,
            finished=3,
            outcome="returned",
        )
        run_history.note(group.draft, TOPICS, work(parent_id="e0", epoch=2), entry)
        (record,) = group.written(TOPICS.history)
        assert record.key == b"r"
        assert StepRecord.decode(record.value) == entry
        assert read(record) == Envelope(
            run_id="r", event_id="e1", type="step", epoch=2, parent_id="e0"
        )
