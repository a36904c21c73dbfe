"""
`fleet bench`: Fleet beside its peers, measured on this machine.

The harness and its contenders are in `tests/benchmarks`, which an installed package does not have:
who measures Fleet has its sources.
"""

import os
import sys
import tomllib
from pathlib import Path

import click

import fleet
from fleet.records.errors import FleetError

_HARNESS = Path("tests", "benchmarks", "run.py")
_PROJECT = "fleet-workflows"


class NoBenchmarks(FleetError):
    """Raised where the benchmarks are not: Fleet was installed without its sources."""

    def __init__(self) -> None:
        super().__init__(
            "the benchmarks are not here: they are in Fleet's source tree, not in the installed "
            "package; run `fleet bench` in the folder of a checkout"
        )


@click.command()
@click.option("--rounds", type=int, metavar="N", help="How often each is measured; 5 by default.")
@click.option("--workload", metavar="W0[,W1...]", help="Only these; all by default.")
@click.option("--contender", metavar="NAME[,NAME...]", help="Only these; all by default.")
@click.option("--scale", type=float, help="Of all counts: 0.01 tries things out, 1 measures.")
@click.option("--json", metavar="FILE", help="Where everything measured is written.")
@click.option(
    "--broker",
    metavar="kafka://HOST:PORT",
    help="One to measure on. Without it one is started; FLEET_BROKER is not used.",
)
@click.option("--guard", is_flag=True, help="Exit with 5 where Fleet fell behind its floor.")
@click.option("--list", is_flag=True, help="Show workloads and contenders, and measure nothing.")
def bench(**given: object) -> None:
    """Measure Fleet beside its peers, with tests/benchmarks of a checkout.

    Contenders take turns, round by round, on one broker. Prints tables in Markdown on stdout and
    each measurement on stderr. Takes hours where nothing is chosen.

    \b
    Exit codes:
      0    measured
      1    a measurement failed, a result was wrong, or this is no checkout
      2    wrong usage
      5    with --guard: a ratio is out of its band
    """  # noqa: D301 - click's mark for lines that stay as they are
    harness = find([Path(fleet.__file__).parents[1], Path.cwd()])
    command = [sys.executable, str(harness), *_passed_on(given)]
    # In place of this process: whoever ends it ends the harness, which then ends what it started.
    os.execv(sys.executable, command)  # noqa: S606 - our own program, without a shell


def _passed_on(given: dict[str, object]) -> list[str]:
    return [
        f"--{name}" if value is True else f"--{name}={value}"
        for name, value in given.items()
        # By identity: a scale of 0 is for the harness to refuse.
        if value is not None and value is not False
    ]


def find(folders: list[Path]) -> Path:
    """Return the harness in the first of *folders* that is a checkout of Fleet.

    Raises NoBenchmarks.
    """
    for folder in folders:
        # Another project may have a file of this name, which is not ours to run.
        if (folder / _HARNESS).is_file() and _is_fleet(folder / "pyproject.toml"):
            return folder / _HARNESS
    raise NoBenchmarks


def _is_fleet(project: Path) -> bool:
    try:
        named = tomllib.loads(project.read_text()).get("project", {})
    except (OSError, ValueError):
        return False
    return bool(named.get("name") == _PROJECT)
