"""The benchmarks: every part of them runs, and it notices what is wrong. Nothing here is timed."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import answers, catalogue, fan_out, guard, load, report
from benchmarks.scene import Line

from fleet.dev.kafka import Broker

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "tests.benchmarks.run")


@pytest.mark.kafka
def test_contenders_take_turns_and_each_result_is_checked(
    kafka_broker: Broker, tmp_path: Path
) -> None:
    """One JSON file with a cell per workload and contender, and a table of them on stdout."""
    found = tmp_path / "found.json"
    ended = subprocess.run(
        [
            *PROGRAM,
            "--rounds=1",
            "--workload=W0,W2",
            "--contender=fleet,floor",
            "--scale=0.002",
            f"--json={found}",
            f"--broker={kafka_broker.address}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, "FLEET_PREFIX": "not for measurements"},
    )
    assert ended.returncode == 0, ended.stderr
    cells = json.loads(found.read_text())["cells"]
    assert [(each["workload"], each["contender"], each["round"]) for each in cells] == [
        ("W0", "fleet", 0),
        ("W0", "floor", 0),
        ("W2", "fleet", 0),
        ("W2", "floor", 0),
    ]
    for cell in cells:
        figures = cell["figures"]
        assert figures["wrong"] == 0
        assert figures["runs"] == {"W0": 10, "W2": 1}[cell["workload"]]
        assert {"wall_s", "runs_per_s", "worker_cpu_s", "worker_peak_mib"} <= figures.keys()
        assert figures["worker_peak_mib"] > 0
    assert {"p50_ms", "p95_ms", "p99_ms"} <= cells[2]["figures"].keys()
    assert "| fleet | 1 |" in ended.stdout
    assert "| floor | 1 |" in ended.stdout


@pytest.mark.kafka
def test_a_fan_out_is_measured_with_its_records_and_what_stays(
    kafka_broker: Broker, tmp_path: Path
) -> None:
    """Each branch has two events and an entry in the history; of the state nothing stays."""
    found = tmp_path / "found.json"
    ended = subprocess.run(
        [
            *PROGRAM,
            "--rounds=1",
            "--workload=W10,W11",
            "--contender=fleet-fan-out,floor-fan-out,faust-fan-out,asyncio-fan-out",
            "--scale=0.002",
            f"--json={found}",
            f"--broker={kafka_broker.address}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert ended.returncode == 0, ended.stderr
    cells = json.loads(found.read_text())["cells"]
    assert {cell["figures"]["wrong"] for cell in cells} == {0}
    assert len(cells) == 7
    [wide] = [
        cell["figures"]
        for cell in cells
        if (cell["workload"], cell["contender"]) == ("W11", "fleet-fan-out")
    ]
    assert wide["branches"] == 20
    names = ("StartEvent", "PartEvent", "DoneEvent", "history", "runs")
    assert [wide[f"{name}_records"] for name in names] == [1, 20, 20, 22, 2]
    # One end for the run that warms the worker up.
    assert (wide["state_left"], wide["ends_left"]) == (0, 2)


def test_the_result_of_a_fan_out_is_right_only_with_each_part_once() -> None:
    """A part that is missing, or of another run, is noticed."""
    topic = fan_out.of(3, "cats")
    found = [fan_out.worked(part) for part in fan_out.parts(topic, 100)]
    assert fan_out.verdict(topic, reversed(found), 100) == fan_out.expected(topic, 100)
    other = fan_out.worked(fan_out.parts(fan_out.of(3, "dogs"), 100)[0])
    for wrong in (found[1:], [*found, other], [found[0], found[0], found[1]]):
        assert fan_out.verdict(topic, wrong, 100) != fan_out.expected(topic, 100)


async def test_a_wrong_result_is_counted() -> None:
    """Of a contender that answers every second run with another one's verdict."""

    async def run(topic: str) -> str:
        return answers.expected(topic if int(topic) % 2 else "another")

    line = Line(run, ())
    assert await load.at_once(line, 10) == 5
    assert await load.outstanding(line, 10, most=3) == 5


async def test_no_more_runs_are_outstanding_than_asked_for() -> None:
    """And all of them are done."""
    going, most, done = 0, 0, 0

    async def run(topic: str) -> str:
        nonlocal going, most, done
        going += 1
        most = max(most, going)
        await asyncio.sleep(0)
        going -= 1
        done += 1
        return answers.expected(topic)

    assert await load.outstanding(Line(run, ()), 20, most=4) == 0
    assert (most, done) == (4, 20)


def test_every_workload_has_a_contender_and_every_contender_a_workload() -> None:
    """The names in the two lists are of modules that are there and know each other."""
    cells = catalogue.cells(list(catalogue.WORKLOADS), list(catalogue.CONTENDERS))
    assert {workload for workload, _ in cells} == set(catalogue.WORKLOADS)
    assert {contender for _, contender in cells} == set(catalogue.CONTENDERS)


def test_the_table_has_least_median_and_largest_and_says_what_is_missing() -> None:
    """Of all rounds; what was skipped, failed or wrong stands under it."""
    text = report.markdown(
        [
            {"workload": "W0", "contender": "fleet", "figures": {"wrong": 0, "wall_s": each}}
            for each in (3.0, 1.0, 1234.5)
        ]
        + [
            {"workload": "W0", "contender": "quix", "skipped": "it is not there"},
            {"workload": "W0", "contender": "floor", "failed": "exit code 1"},
            {"workload": "W0", "contender": "faust", "figures": {"wrong": 7, "wall_s": 2.0}},
        ]
    )
    assert "| fleet | 3 | 1 / 3 / 1,234 |" in text
    assert "- quix: not measured, it is not there" in text
    assert "- floor: failed, exit code 1" in text
    assert "- faust: 7 results were wrong" in text


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        ([1.0, 11.0, 99.0], ""),
        ([1.0, 9.0, 99.0], "W0: runs_per_s of fleet is 0.09 of floor's"),
        ([], "cannot be compared"),
    ],
)
def test_the_guard_compares_medians_of_the_same_run(ours: list[float], said: str) -> None:
    """A workload that was not asked for is not missed; one whose floor is missing is."""
    cells = [
        {"workload": "W0", "contender": name, "figures": {"runs_per_s": value}}
        for name, values in (("fleet", ours), ("floor", [50.0, 100.0, 150.0]))
        for value in values
    ]
    sentences = guard.broken(cells)
    assert len(sentences) == bool(said)
    assert said in "".join(sentences)


@pytest.mark.parametrize(
    "wrong",
    [["--scale=0"], ["--rounds=0"], ["--workload=W77"], ["--workload=W5", "--contender=floor"]],
)
def test_what_cannot_be_measured_is_wrong_usage(wrong: list[str]) -> None:
    """It is refused before anything starts, never taken for everything."""
    ended = subprocess.run(
        [*PROGRAM, *wrong], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2, ended.stderr
    assert "run: error: " in ended.stderr
