"""
The fault table by hand: many runs for each fault and seed, a line of JSON for each.

    python tests/acceptance/faults_table.py run --fault "kill -9" --seed 1 --seed 2 >> cells.jsonl
    python tests/acceptance/faults_table.py table < cells.jsonl

`run` starts a broker of its own unless FLEET_TEST_BROKER names one. Without --fault and --seed it
takes all faults and three seeds: half an hour. What the columns mean is in
`tests/support/verdict.py`. Exit code 1: an invariant was broken, and the logs are kept.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from fault_cell import Cell, play
from faults import FAULTS

from fleet.dev import kafka
from fleet.testing.pytest_plugin import VARIABLE

Line = dict[str, Any]

#: What has to be 0.
BROKEN = (
    "lost",
    "wrong",
    "duplicates",
    "ends_other_than_one",
    "run_again",
    "paid_twice_not_in_flight",
)


@click.group()
def main() -> None:
    """Inject faults into workers around a real broker, and count what came of the runs."""
    # As Ctrl-C: whatever was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@main.command()
@click.option("--fault", "faults", type=click.Choice(list(FAULTS)), multiple=True)
@click.option("--seed", "seeds", type=int, multiple=True)
@click.option("--runs", default=2_000, show_default=True)
@click.option("--rate", default=40.0, show_default=True, help="Runs per second.")
def run(faults: tuple[str, ...], seeds: tuple[int, ...], runs: int, rate: float) -> None:
    """Do it; an odd seed has three workers and an even one two."""
    cells = [
        Cell(fault, seed, 2 + seed % 2, runs, FAULTS[fault].times, rate)
        for seed in seeds or (1, 2, 3)
        for fault in faults or FAULTS
    ]
    lines = [_line(cell) for cell in cells]
    if any(line[each] for line in lines for each in BROKEN):
        raise SystemExit(1)


@main.command()
def table() -> None:
    """Print the lines of standard input as a table in Markdown."""
    lines = [json.loads(line) for line in sys.stdin]
    rows = [_row(fault, [each for each in lines if each["fault"] == fault]) for fault in FAULTS]
    click.echo("| " + " | ".join(COLUMNS) + " |")
    click.echo("|---" * len(COLUMNS) + "|")
    for row in rows:
        click.echo("| " + " | ".join(row) + " |")


def _line(cell: Cell) -> Line:
    """Play *cell*, print its line and return it."""
    folder = Path(tempfile.mkdtemp(prefix="fleet-faults-"))
    begun = time.monotonic()
    with ExitStack() as stack:
        given = os.environ.get(VARIABLE)
        broker = kafka.at(given) if given else stack.enter_context(kafka.embedded())
        verdict = asyncio.run(play(cell, broker, folder))
    line = asdict(cell) | asdict(verdict)
    line |= {"seconds": time.monotonic() - begun, "load": os.getloadavg()[1]}
    click.echo(json.dumps(line))
    if verdict.examples:
        click.echo(f"{cell.fault}, seed {cell.seed}: see {folder}", err=True)
    else:
        shutil.rmtree(folder)
    return line


COLUMNS = (
    "fault",
    "seeds x runs",
    "faults",
    "in flight at each: least, median, most",
    "lost",
    "wrong",
    "duplicates",
    "ends other than one",
    "committed run again",
    "paid twice",
    "in flight at faults + joins",
    "paid twice, not in flight",
    "work went on, s: median, most",
    "pause of a partition, s: median, most",
    "standstill of all, s: median, most",
)


def _row(fault: str, lines: list[Line]) -> list[str]:
    def total(name: str) -> str:
        return str(sum(each[name] for each in lines))

    def values(name: str) -> list[float]:
        return sorted(each for line in lines for each in line[name] if each is not None)

    flights = values("in_flight")
    return [
        fault,
        f"{len(lines)} x {max((each['runs'] for each in lines), default=0)}",
        str(len(flights)),
        _spread(flights, (0, 0.5, 1), "{:.0f}"),
        *(total(each) for each in BROKEN[:5]),
        total("paid_twice"),
        f"{sum(flights):.0f} + {total('in_flight_at_joins')}",
        total("paid_twice_not_in_flight"),
        *(
            _spread(values(f"{each}_seconds"), (0.5, 1), "{:.1f}")
            for each in ("went_on", "pause", "standstill")
        ),
    ]


def _spread(ordered: list[float], shares: Iterable[float], form: str) -> str:
    if not ordered:
        return ""
    return ", ".join(form.format(ordered[round(share * (len(ordered) - 1))]) for share in shares)


if __name__ == "__main__":
    main()
