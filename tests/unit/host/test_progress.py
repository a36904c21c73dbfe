"""A worker that does not get on: what counts as that, and what does not."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from fleet.host.host import Host
from fleet.host.progress import LOOKS, Progress, Stalled

TOPIC = TP("fleet.joke.JokeEvent", 3)
#: Looks until a standstill that begins with the first of them is reported.
ENOUGH = LOOKS + 1


@dataclass
class Worker:
    """One task, as the watch sees it: where it reads and what it commits."""

    position: int | None = 5
    wants_more: bool = True
    sealed: object | None = None
    excused: bool = False
    openings: dict[int, Any] = field(default_factory=dict)
    progress: Progress = field(init=False)

    def __post_init__(self) -> None:
        host, tasks = Host(), {TOPIC.partition: self}
        engine: Any = SimpleNamespace(inputs=[TOPIC.topic], tasks=tasks, openings=self.openings)
        host.engines.add(engine)
        self.progress = Progress(host, lambda _tp: self.position, lambda: self.excused)

    name = "fleet.joke.main-3"
    alive = True

    @property
    def ledger(self) -> Any:
        return SimpleNamespace(sealed=self.sealed)

    def takes(self, topic: str) -> bool:
        return self.wants_more

    def look(self, times: int, end: int | None = 9) -> None:
        for _ in range(times):
            self.progress.look(None if end is None else {TOPIC: end}, seconds=60)


def test_a_consumer_that_takes_nothing_ends_the_worker() -> None:
    """Records wait, the broker answers, and the position does not move: that is said."""
    with pytest.raises(Stalled, match=r"no record of fleet\.joke\.JokeEvent\[3\] was taken for 60"):
        Worker().look(ENOUGH)


def test_a_partition_that_is_not_even_read_ends_the_worker() -> None:
    """A rebalance that never ends is a standstill, too."""
    with pytest.raises(Stalled):
        Worker(position=None).look(ENOUGH)


def test_it_is_not_said_too_early() -> None:
    """One look less than the limit is no standstill."""
    Worker().look(ENOUGH - 1)


def test_a_position_that_moves_is_progress() -> None:
    """However slowly."""
    worker = Worker(position=0)

    for _ in range(4):
        worker.look(ENOUGH - 1, end=100)
        worker.position = (worker.position or 0) + 1


def test_nothing_to_take_is_no_standstill() -> None:
    """An idle worker stays at the end."""
    Worker(position=9).look(3 * ENOUGH)


def test_a_full_window_is_no_standstill() -> None:
    """A task that wants no more has work to do first."""
    Worker(wants_more=False).look(3 * ENOUGH)


def test_an_outage_of_the_broker_ends_nobody() -> None:
    """Without an answer nothing is counted, and afterwards counting begins anew."""
    worker = Worker()

    worker.look(ENOUGH - 1)
    worker.look(3 * ENOUGH, end=None)
    worker.look(ENOUGH - 1)


def test_the_recovery_of_tables_is_excused() -> None:
    """For how long Faust may read its changelogs is not for us to say."""
    Worker(excused=True).look(3 * ENOUGH)


def test_a_commit_that_does_not_come_back_ends_the_worker() -> None:
    """The task is at one and the same commit although the broker answers."""
    with pytest.raises(Stalled, match=r"a commit of fleet\.joke\.main-3 did not come back"):
        Worker(position=9, sealed=object()).look(ENOUGH)


def test_one_commit_after_the_other_is_progress() -> None:
    """A busy task has a commit under way at every look, and each time another one."""
    worker = Worker(position=9)

    for _ in range(3 * ENOUGH):
        worker.sealed = object()
        worker.look(1)


def opening(place: object) -> Any:
    return SimpleNamespace(name="fleet.joke.main-3", place=place)


def test_a_load_that_stands_still_ends_the_worker() -> None:
    """A partition that is loaded for ever looks like one that is loaded long, until now."""
    with pytest.raises(Stalled, match=r"nothing of fleet\.joke\.main-3 was loaded for 60"):
        Worker(position=9, openings={3: opening(("state", 7))}).look(ENOUGH)


def test_a_load_that_gets_on_is_progress() -> None:
    """However slowly."""
    worker = Worker(position=9)

    for place in range(3 * ENOUGH):
        worker.openings[3] = opening(("state", place))
        worker.look(1)


def test_a_load_that_waits_for_its_id_or_its_disk_ends_nobody() -> None:
    """A transaction that hangs holds one partition, and the others of this worker go on."""
    Worker(position=9, openings={3: opening(None)}).look(3 * ENOUGH)
