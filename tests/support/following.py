"""Do what a page of shell commands says, block by block: see `pages` for what a block is for."""

import shutil
from pathlib import Path

from pages import Block, Terminal, is_part


class Follower:
    """Types what a page says, in terminals that stay open."""

    def __init__(self, folder: Path, logs: Path, variables: dict[str, str]) -> None:
        #: Where the terminals begin.
        self.folder = folder
        self._logs = logs
        self._variables = variables
        self._terminals: dict[str, Terminal] = {}
        self._last = ""

    def follow(self, block: Block) -> None:
        """Do what the page says at *block*."""
        match block.comment, block.language:
            case {"not run": _}, _:
                pass
            case {"file": name}, _:
                self.file(name).write_text(block.text)
            case {"excerpt": name}, _:
                assert is_part(block.text, self.file(name).read_text()), f"line {block.line}"
            case {"needs": program}, _ if not shutil.which(program):
                self._last = ""
            case comment, "sh":
                self._type(block, comment)
            case comment, "text":
                self._compare(block, comment.get("output", self._last))
            case _:
                raise AssertionError(f"nothing says what the block in line {block.line} is for")

    def file(self, name: str) -> Path:
        """Return where the file *name* of the page is."""
        return self.folder / name

    def close(self) -> None:
        """Close the terminals, and end what runs in them."""
        for terminal in self._terminals.values():
            terminal.close()

    def _type(self, block: Block, comment: dict[str, str]) -> None:
        self._last, _, waits = comment.get("terminal", "main").partition(", ")
        terminal = self._terminal(self._last)
        terminal.type(block.text)
        if not waits:
            code = terminal.wait()
            assert code == int(comment.get("exits", "0")), (
                f"line {block.line}: exit code {code}\n{terminal.output()}"
            )

    def _compare(self, block: Block, terminal: str) -> None:
        if terminal:
            self._terminal(terminal).wait_for(block.text)

    def _terminal(self, name: str) -> Terminal:
        if name not in self._terminals:
            self._terminals[name] = Terminal(self.folder, self._variables, self._logs / name)
        return self._terminals[name]
