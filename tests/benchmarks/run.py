"""
Fleet beside its peers and its limits, on one broker, contenders taking turns round by round.

    python -m tests.benchmarks.run --rounds 5 --workload W0,W1 --contender fleet,floor --scale 0.01

Run it in the folder of a checkout. Prints a table in Markdown on stdout, one line per measurement
on stderr. `--list` shows what there is. Exit codes: 0 measured, 1 something failed or a result was
wrong, 2 wrong usage, 5 Fleet fell behind (--guard).
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import bound, catalogue, guard, processes, report
from benchmarks.report import Cell
from fleet.dev import kafka

#: Exit code of `--guard`: a threshold was crossed.
_CROSSED = 5
#: A measurement that was told to end has so long to end its processes.
_GRACE_SECONDS = 20
#: What a measurement takes beside its load: processes, groups, topics.
_AROUND_SECONDS = 180
_PACKAGES = (
    "fleet-workflows",
    "faust-streaming",
    "aiokafka",
    "openai",
    "llama-index-workflows",
    "quixstreams",
)


def main(arguments: list[str] | None = None) -> int:
    """Measure what the command line asks for; return the exit code."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.list:
        sys.stdout.write(_listed())
        return 0
    plan = catalogue.cells(chosen.workload, chosen.contender)
    if not plan:
        parser.error("none of these contenders does any of these workloads; see --list")
    # So that the broker and what runs are ended in order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    cells: list[Cell] = []
    save = _Saved(chosen)
    save(cells)
    with _broker(chosen.broker) as broker:
        # After each one: hours of measuring are not to be lost with the last of them.
        for cell in _measured(chosen, plan, broker):
            cells.append(cell)
            save(cells)
    sys.stdout.write(report.markdown(cells) + "\n")
    if any("failed" in each or _wrong(each) for each in cells):
        return 1
    return _guarded(cells) if chosen.guard else 0


def _guarded(cells: list[Cell]) -> int:
    broken = guard.broken(cells)
    sys.stderr.writelines(f"{each}\n" for each in broken)
    return _CROSSED if broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=_positive, default=5, help="how often each is measured (5)")
    add("--workload", type=_names(catalogue.WORKLOADS), default=list(catalogue.WORKLOADS))
    add("--contender", type=_names(catalogue.CONTENDERS), default=list(catalogue.CONTENDERS))
    add("--scale", type=_share, default=1.0, help="of all counts, to try things out (1)")
    add("--json", type=Path, metavar="FILE", help="where everything measured is written")
    add("--broker", help="kafka://HOST:PORT of one to use; else an embedded one is started")
    add("--guard", action="store_true", help="exit code 5 where Fleet fell behind its floor")
    add("--list", action="store_true", help="show workloads and contenders")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{number} is not greater than 0")
    return number


class _names:  # noqa: N801 - used as a type of argparse, as int is
    def __init__(self, known: dict[str, str]) -> None:
        self._known = known

    def __call__(self, text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in self._known:
                raise argparse.ArgumentTypeError(f"{name}: choose from {', '.join(self._known)}")
        return names


def _listed() -> str:
    lines = [f"{each:12} {catalogue.workload(each).ABOUT}" for each in catalogue.WORKLOADS]
    lines += [""]
    for name in catalogue.CONTENDERS:
        contender = catalogue.contender(name)
        names = ",".join(w for w, m in catalogue.WORKLOADS.items() if m in contender.WORKLOADS)
        lines += [f"{name:12} {contender.ABOUT} ({names})"]
    return "\n".join(lines) + "\n"


@contextmanager
def _broker(address: str | None) -> Iterator[tuple[str, int]]:
    """The broker's bootstrap address, and its process id where it is ours."""
    if address:
        yield kafka.at(address).bootstrap, 0
        return
    with kafka.embedded() as broker:
        yield broker.bootstrap, broker.pid


def _measured(
    chosen: argparse.Namespace, plan: list[tuple[str, str]], broker: tuple[str, int]
) -> Iterator[Cell]:
    for number in range(chosen.rounds):
        # Every second round the other way round: nobody is always first on a workload.
        for workload, contender in plan if number % 2 == 0 else reversed(plan):
            cell = {"round": number, "workload": workload, "contender": contender}
            missing = catalogue.contender(contender).missing()
            cell |= {"skipped": missing} if missing else _measure(cell, chosen.scale, broker)
            sys.stderr.write(json.dumps(cell) + "\n")
            yield cell


def _measure(cell: Cell, scale: float, broker: tuple[str, int]) -> Cell:
    """Run `benchmarks.cell` with everything it starts in one process group, and end all of it."""
    patience = _AROUND_SECONDS + catalogue.workload(cell["workload"]).PATIENCE_SECONDS
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        process = subprocess.Popen(
            _command(cell, scale, broker, folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**_environment(), bound.VARIABLE: str(patience + 2 * _GRACE_SECONDS)},
            process_group=0,
        )
        try:
            output, said = _ended(process, patience)
        finally:
            # Workers of a measurement that failed may be left.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        sys.stderr.write(said)
        last = (said.strip().splitlines() or ["it said nothing"])[-1]
        return {"failed": f"exit code {process.returncode}: {last}"}
    return {"figures": json.loads(output)}


def _ended(process: subprocess.Popen[str], patience: float) -> tuple[str, str]:
    with suppress(subprocess.TimeoutExpired):
        return process.communicate(timeout=patience)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        return process.communicate(timeout=_GRACE_SECONDS)
    os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()


def _command(cell: Cell, scale: float, broker: tuple[str, int], folder: str) -> list[str]:
    bootstrap, broker_pid = broker
    command = [sys.executable, "-m", "benchmarks.cell", "--folder", folder]
    command += ["--workload", cell["workload"], "--contender", cell["contender"]]
    command += ["--bootstrap", bootstrap, "--broker-pid", str(broker_pid)]
    return [*command, "--scale", str(scale)]


def _environment() -> dict[str, str]:
    """Return ours without what would change what is measured, or spend money."""
    ours = ("FLEET_", "OPENAI_", "BENCH_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONPATH": processes.PYTHONPATH}


def _wrong(cell: Cell) -> bool:
    return bool(cell.get("figures", {}).get("wrong"))


def _machine() -> dict[str, object]:
    versions = {}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "packages": versions,
    }


class _Saved:
    """The file of `--json`, where one is asked for."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self._file: Path | None = chosen.json
        names = ("rounds", "workload", "contender", "scale")
        asked = {name: getattr(chosen, name) for name in names}
        self._about = {"machine": _machine(), "asked": asked, "at": time.time()}

    def __call__(self, cells: list[Cell]) -> None:
        if self._file:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps({**self._about, "cells": cells}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
