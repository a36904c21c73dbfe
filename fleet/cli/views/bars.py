"""A bar on stderr while a command works through many items; nothing outside a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Takes how many are done, of how many, and words for the bar.
Move = Callable[[int, int, str], object]


@contextmanager
def bar() -> Iterator[Move]:
    """Show a bar inside the `with` block, and give the function that moves it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _still
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[words]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as shown:
        task = shown.add_task("", total=None, words="")

        def move(done: int, total: int, words: str) -> None:
            shown.update(task, completed=done, total=total, words=words)

        yield move


def _still(done: int, total: int, words: str) -> None:
    """Move nothing."""
