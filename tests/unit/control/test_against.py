"""What `fleet check --against` finds in the state of a running workflow."""

from collections.abc import Iterable

from fleet import Context, Event, HumanResponseEvent, StartEvent, StopEvent, step
from fleet.control import against
from fleet.control.against import Fate, Line
from fleet.engine.transitions.scopes import Scope
from fleet.engine.transitions.suspended import Suspended, Until
from fleet.records import state
from fleet.records.envelope import Envelope
from fleet.records.log import Delivered
from fleet.records.topics import Topics
from fleet.records.waits import Wait
from fleet.workflow import definition
from fleet.workflow.definition import Definition

TOPICS = Topics("fleet", "joke", "main")
STATE = dict[bytes, bytes | None]


class Asked(Event):
    """Taken by a step that was renamed."""


class Told(HumanResponseEvent):
    """What a person answers."""


class NextFlow(Definition):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Asked:
        return Asked()

    @step(formerly="reply")
    async def answer(self, ctx: Context, ev: Asked) -> StopEvent:
        return StopEvent()


def entry(step: str, event: str, since_ms: int = 0, wait: Wait | None = None) -> bytes:
    envelope = Envelope(run_id="r", event_id="o", type=event)
    kept = Suspended(
        topic=TOPICS.event(event),
        headers=tuple(envelope.headers()),
        step=step,
        until=Until.TIME,
        since_ms=since_ms,
        wait=wait,
    )
    return kept.encode()


def waits_for(name: str, module: str = __name__) -> Wait:
    return Wait(id="w", awaits=name, module=module, qualname=name)


def lines(*states: STATE) -> list[Line]:
    work = against.Work(TOPICS)
    for changes in states:
        for key, value in changes.items():
            work.take(Delivered(TOPICS.state, 0, 0, 0, key, value, []))
    return work.lines(definition.graph(NextFlow))


def fates(found: Iterable[Line]) -> list[tuple[str, str, str, str, int]]:
    return [(line.fate, line.step, line.now, line.kind, line.count) for line in found]


def test_work_is_counted_by_step_with_the_time_of_the_oldest() -> None:
    found = lines(
        {
            state.waiting_key("a", "1", "begin"): entry("begin", "StartEvent", 7_000),
            state.waiting_key("b", "1", "begin"): entry("begin", "StartEvent", 5_000),
        }
    )
    assert fates(found) == [(Fate.KNOWN, "begin", "begin", "waits", 2)]
    assert found[0].since_ms == 5_000
    assert against.stops(found) == []


def test_what_follows_a_former_name() -> None:
    found = lines({state.suspended_key("a", "1", "reply"): entry("reply", "Asked")})
    assert fates(found) == [(Fate.FOLLOWS, "reply", "answer", "due", 1)]
    assert against.stops(found) == []


def test_what_no_step_takes_comes_first() -> None:
    """Also if the step is there and takes another event now."""
    found = lines(
        {
            state.waiting_key("a", "1", "begin"): entry("begin", "StartEvent"),
            state.waiting_key("a", "2", "gone"): entry("gone", "Asked"),
            state.waiting_key("a", "3", "begin"): entry("begin", "Asked"),
        }
    )
    assert [line.step for line in against.stops(found)] == ["begin", "gone"]
    assert found[-1].fate is Fate.KNOWN


def test_work_of_failed_runs_is_listed_and_stops_nothing() -> None:
    found = lines({state.awaiting_key("a", "1", "gone"): entry("gone", "Asked")})
    assert fates(found) == [(Fate.UNKNOWN_STEP, "gone", "", "failed", 1)]
    assert against.stops(found) == []


def test_a_wait_for_a_type_that_is_not_there() -> None:
    found = lines(
        {
            state.waiting_key("a", "1", "begin"): entry(
                "begin", "StartEvent", wait=waits_for("Told")
            ),
            state.waiting_key("a", "2", "begin"): entry(
                "begin", "StartEvent", wait=waits_for("Removed")
            ),
        }
    )
    assert [(line.fate, line.awaits) for line in found] == [
        (Fate.UNKNOWN_EVENT, "Removed"),
        (Fate.KNOWN, "Told"),
    ]


def test_fan_outs_and_joins() -> None:
    """Those that have fired need their step as suspended work, and no more as this."""
    scope = Scope(step="s", event_id="e", joins=(("gone", "Asked"), ("old", "Asked")))
    fired = scope.model_copy(update={"fired": ("old",)})
    found = lines(
        {
            state.item_key("a", "s", "1", "gone"): b"",
            state.scope_key("a", "s"): fired.encode(),
            state.member_prefix("a", "s", "gone") + b"0\x001": b"Asked\0{}",
        }
    )
    assert fates(found) == [
        (Fate.UNKNOWN_STEP, "gone", "", "fan-out", 1),
        (Fate.UNKNOWN_STEP, "gone", "", "join", 2),
    ]


def test_what_is_done_or_of_no_step_is_left_out() -> None:
    every = state.suspended_key("a", "2", "")
    late = state.suspended_key("a", "3", "runs 7")
    of_runs = Suspended(topic=TOPICS.runs, headers=(), step="runs 7").encode()
    done = state.waiting_key("a", "1", "gone")
    found = lines(
        {done: entry("gone", "Asked"), every: entry("", "Asked"), late: of_runs, b"r\0a": b"{}"},
        {done: None},
    )
    assert found == []
