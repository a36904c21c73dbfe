"""Rows on stdout: a table for people, plain columns for a pipe, JSON for programs."""

import json
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fleet.cli.shared import terminal
from fleet.records import printable

Row = Mapping[str, object]


def show(rows: Sequence[Row], form: str) -> None:
    """Print *rows*, whose keys are the columns in order, as `table` or `json`."""
    if form == "json":
        terminal.echo(printable.json(json.dumps([dict(row) for row in rows], indent=2)))
    elif not rows:
        return
    elif (console := Console()).is_terminal:
        console.print(_table(rows))
    else:
        terminal.echo(plain(rows))


def plain(rows: Sequence[Row]) -> str:
    """Return *rows* as columns of text, for a preview."""
    return "\n".join(_lines(rows))


def show_object(value: object) -> None:
    """Print one object as JSON."""
    terminal.echo(printable.json(json.dumps(value, indent=2, ensure_ascii=False)))


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in _columns(rows):
        table.add_column(column.upper(), overflow="fold")
    for row in rows:
        # Not as markup: a value may hold brackets.
        table.add_row(*(Text(cell) for cell in _cells(row)))
    return table


def _lines(rows: Sequence[Row]) -> list[str]:
    cells = [[column.upper() for column in _columns(rows)], *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]


def _columns(rows: Sequence[Row]) -> list[str]:
    return list(rows[0]) if rows else []


def _cells(row: Row) -> list[str]:
    # Of one line each: a newline in a run's id would make a row of its own.
    return ["" if value is None else printable.line(value) for value in row.values()]


def rest(shown: int, found: int) -> str:
    """Return what to add to a count of *found* if only some are *shown*."""
    return f"; the newest {shown:,} are shown" if shown < found else ""
