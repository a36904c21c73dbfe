"""Broker time on a worker: measured by a clock that nobody sets, corrected by append times."""

import ast
from pathlib import Path

import pytest

import fleet
from fleet.engine.clock import BrokerClock

RUNS, OTHER = "fleet.joke.runs", "fleet.joke.main.state"


class Machine:
    """A clock that the test moves, in seconds."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.clock = BrokerClock(lambda: self.seconds, RUNS)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_time_passes_from_what_a_commit_told(machine: Machine) -> None:
    """The broker's time, and then as many seconds as the monotonic clock has counted."""
    assert not machine.clock.known
    assert machine.clock.observe({RUNS: 50_000}, 0)
    assert machine.clock.known
    machine.seconds += 7
    assert machine.clock.now_ms() == 57_000


def test_what_the_length_of_a_commit_explains_is_no_other_time(machine: Machine) -> None:
    """A record is appended at some time during its commit."""
    machine.clock.observe({RUNS: 50_000}, 0)
    machine.seconds += 10
    assert not machine.clock.observe({RUNS: 58_000}, 3)
    assert machine.clock.now_ms() == 60_000


def test_what_it_does_not_explain_is(machine: Machine) -> None:
    """Forward as far as needed; back as far as it may be, so that no deadline passes early."""
    machine.clock.observe({RUNS: 50_000}, 0)
    machine.seconds += 10
    assert machine.clock.observe({RUNS: 3_660_000}, 3)
    assert machine.clock.now_ms() == 3_660_000
    machine.seconds += 10
    assert machine.clock.observe({RUNS: 70_000}, 3)
    assert machine.clock.now_ms() == 70_000


def test_a_commit_that_was_not_told_its_time_is_told_by_what_is_read(machine: Machine) -> None:
    """Else a clock that was set back would go unnoticed, and deadlines would pass early."""
    machine.clock.observe({RUNS: 50_000}, 0)
    machine.seconds += 10
    assert not machine.clock.not_told(3)
    assert machine.clock.now_ms() == 60_000
    machine.seconds += 1
    assert machine.clock.read(38_000)
    assert machine.clock.now_ms() == 38_000
    assert not machine.clock.read(20_000)


def test_what_was_read_before_the_acknowledgement_tells_it_too(machine: Machine) -> None:
    """A record is read as soon as the broker has committed it."""
    machine.clock.observe({RUNS: 50_000}, 0)
    machine.seconds += 10
    assert not machine.clock.read(38_000)
    machine.seconds += 1
    assert machine.clock.not_told(3)
    assert machine.clock.now_ms() == 39_000


def test_what_was_read_long_before_tells_nothing_of_a_commit(machine: Machine) -> None:
    """It was appended by another one."""
    machine.clock.observe({RUNS: 50_000}, 0)
    machine.clock.read(20_000)
    machine.seconds += 10
    assert not machine.clock.not_told(3)
    assert machine.clock.now_ms() == 60_000


def test_other_partitions_count_only_until_runs_has_told(machine: Machine) -> None:
    """Deadlines are counted from append times of `runs`; another broker has another clock."""
    assert machine.clock.observe({OTHER: 9_000_000}, 0)
    assert machine.clock.now_ms() == 9_000_000
    assert machine.clock.observe({OTHER: 9_000_000, RUNS: 50_000}, 1)
    assert machine.clock.now_ms() == 50_000
    assert not machine.clock.observe({OTHER: 9_000_000}, 0)
    assert machine.clock.now_ms() == 50_000


def test_a_time_that_nobody_knows_is_none(machine: Machine) -> None:
    """A duplicate's place and time may be forgotten."""
    assert not machine.clock.observe({}, 0)
    assert not machine.clock.observe({RUNS: -1}, 0)
    assert not machine.clock.known


def test_what_was_read_is_a_guess_until_something_is_known(machine: Machine) -> None:
    """It is at least as late as the newest record says."""
    machine.clock.has_been(40_000)
    machine.clock.has_been(30_000)
    assert (machine.clock.known, machine.clock.now_ms()) == (False, 40_000)
    machine.clock.observe({RUNS: 20_000}, 0)
    machine.clock.has_been(40_000)
    assert machine.clock.now_ms() == 20_000


#: Where a wall clock is read, and what for. It decides nothing about runs.
WALL = {
    # When an in-process log began: from then on its monotonic clock counts.
    "fleet/memory/backend.py",
    # For people: what is shown, and when an operator did something.
    "fleet/control/audit.py",
    "fleet/control/dead/topic.py",
    "fleet/control/lag/reader.py",
    "fleet/control/runs/export.py",
    "fleet/cli/actions/cancel.py",
    "fleet/cli/actions/lag.py",
    "fleet/control/times.py",
    # Of scripted answers and a broker for development.
    "fleet/dev/kafka/__init__.py",
    "fleet/dev/llm/journal.py",
    "fleet/dev/llm/protocol.py",
}
CLOCKS = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow")}


def test_nothing_that_decides_reads_a_wall_clock() -> None:
    """Every module that asks the machine what time it is is known here, with its reason."""
    root = Path(fleet.__file__).parents[1]
    reading = {
        path.relative_to(root).as_posix()
        for path in (root / "fleet").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in CLOCKS
    }
    assert reading == WALL
