"""Log lines as a script sees them that chose no logging, and as a worker's terminal does."""

import subprocess
import sys
import textwrap

BEGIN = """
import logging, logging.config
from fleet.config import logs
from fleet.config.current_step import CURRENT_STEP, CurrentStep
HOSTILE = "run\\x1b[2J\\nlevel=critical"
"""
AS_A_WORKER = "logging.config.dictConfig(logs.logging_config('console'))\n"


def _written(code: str) -> str:
    program = BEGIN + textwrap.dedent(code)
    ran = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return ran.stderr


def test_a_script_without_logging_sees_a_sentence_and_no_dictionary() -> None:
    """Python prints warnings by their text alone."""
    said = _written("logs.get_logger('x').warning('no_worker', group='g', run_id=HOSTILE, n=2)")
    assert said == "fleet: no_worker group=g run_id=run\\x1b[2J\\nlevel=critical n=2\n"


def test_texts_of_others_do_not_command_a_workers_terminal() -> None:
    """In a field, and in lines of other libraries; a stack keeps its lines."""
    said = _written(
        AS_A_WORKER
        + textwrap.dedent(
            """
            logs.get_logger("x").warning("dead_letter", run_id=HOSTILE)
            try:
                raise ValueError(HOSTILE)
            except ValueError:
                logging.getLogger("other").exception("it says: %s", HOSTILE)
            """
        )
    )
    assert "\x1b" not in said
    first, second, *stack = said.splitlines()
    assert "level=critical" in first
    assert "it says: run\\x1b[2J\\nlevel=critical" in second
    assert stack[0].startswith("Traceback")
    assert stack[-2:] == ["ValueError: run\\x1b[2J", "level=critical"]


def test_a_line_of_a_step_says_whose_it_is() -> None:
    """Step and run are added, and do not replace what the line says itself."""
    said = _written(
        AS_A_WORKER
        + "CURRENT_STEP.set(CurrentStep('judge', 'run-7'))\n"
        + "logging.getLogger('mine').warning('hello')\n"
        + "logs.get_logger('x').warning('told', run_id='another')\n"
    )
    hello, told = said.splitlines()
    assert "step=judge" in hello
    assert "run_id=run-7" in hello
    assert "run_id=another" in told


def test_a_command_says_a_warning_once() -> None:
    """As the sentence in it; in the log's own form where the command has a log, as the exporter."""
    command = textwrap.dedent(
        """
        from fleet.cli.shared import loop
        async def work():
            logs.get_logger("x").warning("no_worker", reason="There is none.")
        loop.run(work())
        """
    )
    assert _written(command) == "There is none.\n"
    [line] = _written(AS_A_WORKER + command).splitlines()
    assert "no_worker" in line
