"""
Faults around a real broker: each of them once, into a few hundred runs.

The long form, with many runs and seeds and a table of numbers, is `faults_table.py` beside this.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from fault_cell import Cell, play
from faults import FAULTS

from fleet.dev.kafka import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

#: Workers where it is not two, and how often where it is not once.
WORKERS = {"kill -9 of two at once": 3, "rolling restart": 3, "rebalance storm": 3}
TIMES = {"rebalance storm": 2}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("fault", FAULTS)
async def test_no_fault_loses_doubles_or_repeats_what_was_committed(
    fault: str,
    kafka_broker: Broker,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """Right results, one end each, no duplicates; only what was in flight is paid for twice."""
    cell = Cell(fault, workers=WORKERS.get(fault, 2), runs=200, times=TIMES.get(fault, 1))

    verdict = await play(cell, kafka_broker, tmp_path)

    record_property("verdict", verdict)
    assert verdict.examples == []
    assert len(verdict.in_flight) >= cell.times
    assert min(verdict.in_flight) >= 20
