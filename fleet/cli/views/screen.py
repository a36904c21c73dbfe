"""
What a long command shows: words on stderr, the result on stdout.

In a terminal the present stage is a line that moves and is cleared; elsewhere each stage is a line.
"""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.text import Text

from fleet.cli.shared import terminal
from fleet.records import printable

if TYPE_CHECKING:
    from rich.status import Status


class Screen:
    """The terminal of one command; at the end of its `with` block nothing moves.

    It takes plain text: a path may have brackets, which are markup to rich.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._status: Status | None = None
        self._told: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._still()

    def stage(self, words: str) -> None:
        """Show the present stage. What follows ": " counts its progress."""
        if self._console.is_terminal:
            self.moment(words)
            return
        name = words.partition(": ")[0]
        if name not in self._told:
            self._told.add(name)
            terminal.echo(words, err=True)

    def moment(self, words: str) -> None:
        """Show the present stage in a terminal, which can clear it; it is not worth a line."""
        if self._console.is_terminal:
            self._still()
            self._status = self._console.status(Text(printable.line(words)))
            self._status.start()

    def line(self, words: str = "") -> None:
        """Show a line that stays."""
        if self._console.is_terminal:
            self._console.print(Text(printable.text(words)), soft_wrap=True)
        else:
            terminal.echo(words, err=True)

    def result(self, words: str) -> None:
        """Print the result."""
        # While a status moves, rich sends stdout to its console.
        self._still()
        terminal.echo(words)

    def _still(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
