"""
Whether Fleet fell behind: ratios of medians within one run, since machines differ.

The bands are what Fleet must reach; they are not what it reaches today.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from benchmarks.report import Cell


@dataclass(frozen=True)
class Band:
    """How a figure of one contender has to stand to that of another."""

    workload: str
    figure: str
    contender: str
    beside: str
    least: float = 0.0
    most: float = float("inf")


BANDS = (
    Band("W0", "runs_per_s", "fleet", "floor", least=0.10),
    Band("W1", "wall_s", "fleet", "floor", most=1.3),
    Band("W7", "wall_s", "fleet-llm", "openai", most=1.3),
)


def broken(cells: list[Cell]) -> list[str]:
    """Return a sentence per band that the medians are out of, or that cannot be told."""
    asked = {cell["workload"] for cell in cells}
    return [
        sentence for band in BANDS if band.workload in asked for sentence in _broken(band, cells)
    ]


def _broken(band: Band, cells: list[Cell]) -> Iterable[str]:
    ours, theirs = (_values(cells, band, contender) for contender in (band.contender, band.beside))
    name = f"{band.workload}: {band.figure} of {band.contender}"
    if not ours or not theirs:
        yield f"{name} cannot be compared: it or {band.beside} was not measured"
        return
    ratio = median(ours) / median(theirs)
    if not band.least <= ratio <= band.most:
        yield (
            f"{name} is {ratio:.2f} of {band.beside}'s; "
            f"it has to be between {band.least:g} and {band.most:g}"
        )


def _values(cells: list[Cell], band: Band, contender: str) -> list[float]:
    return [
        cell["figures"][band.figure]
        for cell in cells
        if "figures" in cell and (cell["workload"], cell["contender"]) == (band.workload, contender)
    ]
