"""
Faults around a real broker: each of them once, into a few hundred runs.

The long form, with many runs and seeds and a table of numbers, is `faults_table.py` beside this.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from fault_cell import Cell, play
from faults import FAULTS
from verdict import Verdict

from fleet.dev.kafka import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

#: Workers where it is not two, and how often where it is not once.
WORKERS = {"kill -9 of two at once": 3, "rolling restart": 3, "rebalance storm": 3}
TIMES = {"rebalance storm": 2}
#: Steps in flight that a fault has to strike, and how often it is injected until it does.
LEAST_IN_FLIGHT, ATTEMPTS = 20, 3


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS)
async def test_no_fault_loses_doubles_or_repeats_what_was_committed(
    fault: str,
    kafka_broker: Broker,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """Right results, one end each, no duplicates; only what was in flight is paid for twice."""
    cell = Cell(fault, workers=WORKERS.get(fault, 2), runs=200, times=TIMES.get(fault, 1))

    # On a busy machine work may end between the look and the fault, and the fault then shows
    # nothing: it is injected again, and what was promised has to hold each time.
    for attempt in range(ATTEMPTS):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        verdict = await play(cell, kafka_broker, folder)
        record_property("verdict", repr(verdict))
        assert verdict.examples == []
        if _struck(cell, verdict):
            return
    pytest.fail(f"no fault struck {LEAST_IN_FLIGHT} steps in flight: {verdict.in_flight}")


def _struck(cell: Cell, verdict: Verdict) -> bool:
    enough = min(verdict.in_flight, default=0) >= LEAST_IN_FLIGHT
    return len(verdict.in_flight) >= cell.times and enough
