"""What was measured as tables in Markdown: each figure with its least, median and largest value."""

from collections.abc import Iterable
from statistics import median
from typing import Any

from benchmarks import catalogue
from benchmarks.scene import Figures

Cell = dict[str, Any]

#: These are checked, not compared.
_CHECKS = ("runs", "wrong")


def markdown(cells: list[Cell]) -> str:
    """Return a table per workload and, under it, what was not measured and why."""
    names = dict.fromkeys(cell["workload"] for cell in cells)
    return "\n\n".join(
        _section(name, [cell for cell in cells if cell["workload"] == name]) for name in names
    )


def _section(workload: str, cells: list[Cell]) -> str:
    done = [cell for cell in cells if "figures" in cell]
    lines = [f"### {catalogue.workload(workload).ABOUT}", ""]
    lines += [*_table(done), ""] if done else []
    lines += dict.fromkeys(_not_done(cells))
    return "\n".join(lines).rstrip()


def _table(cells: list[Cell]) -> Iterable[str]:
    contenders = list(dict.fromkeys(cell["contender"] for cell in cells))
    columns = dict.fromkeys(name for cell in cells for name in cell["figures"])
    shown = [name for name in columns if name not in _CHECKS]
    yield f"| min / median / max | rounds | {' | '.join(shown)} |"
    yield f"|---|---{'|---' * len(shown)}|"
    for contender in contenders:
        figures = [cell["figures"] for cell in cells if cell["contender"] == contender]
        values = (_spread(figures, name) for name in shown)
        yield f"| {contender} | {len(figures)} | {' | '.join(values)} |"


def _spread(figures: list[Figures], name: str) -> str:
    values = [each[name] for each in figures if name in each]
    if not values:
        return ""
    return " / ".join(_number(each) for each in (min(values), median(values), max(values)))


def _number(value: float) -> str:
    """Return three digits that count, and no more of a number that has them before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _not_done(cells: list[Cell]) -> Iterable[str]:
    for cell in cells:
        if "skipped" in cell:
            yield f"- {cell['contender']}: not measured, {cell['skipped']}"
        elif "failed" in cell:
            yield f"- {cell['contender']}: failed, {cell['failed']}"
        elif cell["figures"]["wrong"]:
            yield f"- {cell['contender']}: {cell['figures']['wrong']:.0f} results were wrong"
