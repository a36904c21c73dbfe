"""What of a task's inputs is not done, as somebody reads it from outside."""

from collections.abc import Mapping

import pytest
from task_world import Clock, World

from fleet.engine import task
from fleet.engine.admission.budget import Budget
from fleet.engine.inputs import Inputs
from fleet.engine.ledger import Ledger
from fleet.engine.reading import Lag
from fleet.memory.backend import MemoryStore
from fleet.records.log import Delivered

TOPIC = "fleet.joke.StartEvent"
HOUR_MS = 3_600_000.0
#: The broker's time when a test begins.
NOW_MS = 10 * HOUR_MS


@pytest.fixture
def inputs() -> Inputs:
    inputs = Inputs(Ledger(MemoryStore()), Budget(1_000, 0).account())
    inputs.restore([TOPIC])
    return inputs


def deliver(inputs: Inputs, offset: int, appended_ms: float, value: bytes = b"") -> Delivered:
    record = Delivered(
        topic=TOPIC,
        partition=0,
        offset=offset,
        key=b"run",
        value=value,
        headers=[],
        appended_ms=int(appended_ms),
    )
    inputs.deliver(record)
    return record


def lag(inputs: Inputs, now_ms: float) -> Lag:
    return inputs.lags(now_ms)[TOPIC]


def test_an_open_event_is_as_old_as_its_append(inputs: Inputs) -> None:
    """Of several the oldest counts, though others are behind it."""
    for offset, age_ms in enumerate((7_000, 5_000)):
        inputs.open(deliver(inputs, offset, NOW_MS - age_ms), ["tell"], marked=False)
    inputs.reading.reaches(TOPIC, 3, NOW_MS)
    assert lag(inputs, NOW_MS) == Lag(records=5, seconds=7, committable=0)


def test_a_worker_that_keeps_up_has_no_growing_lag(inputs: Inputs) -> None:
    """Each look finds records on the way, and by the next one those are done."""
    inputs.reading.reaches(TOPIC, 0, NOW_MS)
    for second in range(60):
        now_ms = NOW_MS + second * 1_000
        inputs.pass_over(deliver(inputs, second, now_ms - 100), marked=False)
        inputs.reading.reaches(TOPIC, 1, now_ms)
        assert lag(inputs, now_ms).seconds == pytest.approx(0.1)


def test_the_rest_of_a_backlog_is_as_old_as_what_was_last_delivered(inputs: Inputs) -> None:
    """A worker that has begun with it knows how old it is, though nothing is open."""
    inputs.reading.reaches(TOPIC, 1_000, NOW_MS)
    inputs.pass_over(deliver(inputs, 0, NOW_MS - HOUR_MS), marked=False)
    inputs.reading.reaches(TOPIC, 999, NOW_MS + 1_000)
    assert lag(inputs, NOW_MS + 1_000).seconds == pytest.approx(3_601)


def test_a_backlog_that_nobody_has_begun_with_ages_from_when_it_was_seen(inputs: Inputs) -> None:
    """A task that was loaded just now has no record of it, so no time either."""
    for second in range(3):
        inputs.reading.reaches(TOPIC, 1_000, NOW_MS + second * 1_000)
    assert lag(inputs, NOW_MS + 2_000) == Lag(records=1_000, seconds=2, committable=0)


def test_a_partition_without_work_has_no_lag_however_long_nothing_came(inputs: Inputs) -> None:
    """Also where the last record was old."""
    inputs.pass_over(deliver(inputs, 0, NOW_MS - HOUR_MS), marked=False)
    inputs.reading.reaches(TOPIC, 0, NOW_MS)
    assert lag(inputs, NOW_MS + HOUR_MS) == Lag(records=0, seconds=0, committable=1)


def test_what_comes_after_a_quiet_hour_is_not_an_hour_old(inputs: Inputs) -> None:
    """Its age counts from the last look that found nothing to do."""
    inputs.pass_over(deliver(inputs, 0, NOW_MS - HOUR_MS), marked=False)
    inputs.reading.reaches(TOPIC, 0, NOW_MS)
    inputs.reading.reaches(TOPIC, 1, NOW_MS + 1_000)
    assert lag(inputs, NOW_MS + 1_000).seconds == pytest.approx(1)


def test_a_task_that_was_loaded_just_now_is_not_as_old_as_what_it_has_read(inputs: Inputs) -> None:
    """Its load has read to the end: what came since is young, whatever was there before."""
    inputs.pass_over(deliver(inputs, 0, NOW_MS - 24 * HOUR_MS), marked=False)
    inputs.reading.loaded(TOPIC)
    inputs.reading.reaches(TOPIC, 1, NOW_MS)
    assert lag(inputs, NOW_MS + 1_000) == Lag(records=1, seconds=1, committable=1)
    assert not inputs.have_passed(NOW_MS - 1)


def test_times_of_a_clock_that_was_set_back_tell_nothing(inputs: Inputs) -> None:
    """What is appended from now on has such times again, and was not delivered."""
    inputs.reading.reaches(TOPIC, 0, NOW_MS + HOUR_MS)
    assert inputs.have_passed(NOW_MS)
    inputs.reading.forget_times()
    assert not inputs.have_passed(NOW_MS)
    inputs.reading.reaches(TOPIC, 0, NOW_MS + 1)
    assert inputs.have_passed(NOW_MS)


def test_open_events_are_counted_in_bytes(inputs: Inputs) -> None:
    """Key, value and headers, from when an event is opened until its last step is done."""
    record = deliver(inputs, 0, NOW_MS, b"x" * 997)
    assert not inputs.window.full
    inputs.open(record, ["tell", "judge"], marked=False)
    assert inputs.window.full
    inputs.step_done(record, "tell")
    assert inputs.window.held == 1_000
    inputs.step_done(record, "judge")
    assert inputs.window.held == 0


class SetBack(Clock):
    """A broker's clock that is set back by an hour, as the next commit tells."""

    def observe(self, _times: Mapping[str, int], _seconds: float) -> bool:
        self.ms -= HOUR_MS
        return True


async def test_a_task_that_hears_that_the_clock_was_set_back_forgets_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No ended run is forgotten by what was read before that."""
    clock = SetBack()
    monkeypatch.setattr(task, "BrokerClock", lambda *_: clock)
    world = World(clock)
    for topic in world.step_group.inputs:
        world.task.intake.reaches(topic, 0, 0)
    assert world.task.inputs.have_passed(clock.ms - 1)
    await world.begin()
    await world.task.confirm()

    assert not world.task.inputs.have_passed(clock.ms - 1)
    await world.task.close()
