"""
Pages that are run: their blocks in order, and what they show.

What a block is for stands in the source, in a comment above it that readers do not see:

    <!-- file: PATH -->           its text is written to the file
    <!-- excerpt: PATH -->        its text is in the file
    <!-- terminal: NAME -->       it is typed in this terminal; `main` where none is named
    <!-- terminal: NAME, waits -->  the same, and the command does not end before the page says so
    <!-- output: NAME -->         this terminal shows that by now, from its last command on
    <!-- exits: CODE -->          its last command fails with this code
    <!-- needs: PROGRAM -->       it is left out where the program is not there
    <!-- not run: REASON -->      it is left out

A `text` block is the output of the block above it. `…` stands for anything within a line, a line
of it alone for any lines. How far columns stand apart is not compared.
"""

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:^<!-- (?P<comment>[^>]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
#: bash says so of a job that was killed.
_JOB_NOTICE = re.compile(r"^.*line \d+: +\d+ Killed .*\n", re.MULTILINE)
#: How long a command may take on a busy machine.
PATIENCE_SECONDS = 90.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page, with the comment above it."""

    language: str
    text: str
    line: int
    comment: dict[str, str]


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(
            found["language"],
            found["text"],
            text.count("\n", 0, found.start("language")) + 1,
            _comment(found["comment"] or ""),
        )
        for found in _BLOCK.finditer(text)
    ]


def _comment(words: str) -> dict[str, str]:
    name, _, rest = words.partition(": ")
    return {name: rest} if name else {}


def is_shown(expected: str, output: str) -> bool:
    """Tell whether *output* is what a page shows as *expected*, `…` being anything."""
    pattern = "".join(
        r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"\n"
        for line in _lines(expected)
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(output))) is not None


def is_part(excerpt: str, whole: str) -> bool:
    """Tell whether the lines of *excerpt* follow each other in *whole*, indented or not."""
    part, lines = ([line for line in _lines(text) if line] for text in (excerpt, whole))
    return any(lines[start : start + len(part)] == part for start in range(len(lines)))


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.strip().splitlines()]


class Terminal:
    """A shell that keeps its folder, its variables and its jobs from one block to the next."""

    def __init__(self, folder: Path, variables: dict[str, str], log: Path) -> None:
        self._log = log
        self._count = 0
        log.mkdir()
        self._shell = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def type(self, commands: str) -> None:
        """Begin to run *commands*."""
        self._count += 1
        self._file("sh").write_text(commands)
        assert self._shell.stdin, "a pipe"
        # Read from a file, so that no command takes the next block for its input.
        script, output, code = (self._file(kind) for kind in ("sh", "out", "code"))
        self._shell.stdin.write(
            f". {script} </dev/null >{output} 2>&1; echo $? >{code}.new; mv {code}.new {code}\n"
        )
        self._shell.stdin.flush()

    def wait(self) -> int:
        """Wait until the commands have ended; return the exit code of the last one."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._file("code").exists():
            assert time.monotonic() < until, f"it does not end:\n{self.output()}"
            time.sleep(_LOOK_SECONDS)
        return int(self._file("code").read_text())

    def wait_for(self, expected: str) -> None:
        """Wait until the terminal shows *expected* since the commands began."""
        until = time.monotonic() + PATIENCE_SECONDS
        is_last_look = False
        while not is_shown(expected, self.output()):
            is_late = is_last_look or time.monotonic() > until
            assert not is_late, f"expected:\n{expected}\nfound:\n{self.output()}"
            time.sleep(_LOOK_SECONDS)
            is_last_look = self._file("code").exists()

    def output(self) -> str:
        """Return what the commands have said so far."""
        output = self._file("out")
        return _JOB_NOTICE.sub("", output.read_text()) if output.exists() else ""

    def close(self) -> None:
        """End the shell and its jobs."""
        os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()
        assert self._shell.stdin, "a pipe"
        self._shell.stdin.close()

    def _file(self, kind: str) -> Path:
        return self._log / f"{self._count}.{kind}"
