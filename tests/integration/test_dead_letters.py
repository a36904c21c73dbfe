"""`fleet dead`, `fleet runs` and `fleet audit` on a real broker with a real worker."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from poison_flow import Asked, PoisonFlow
from workers import SUPPORT, WorkerProcess

from fleet import connect
from fleet.cli import main
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker

pytestmark = pytest.mark.kafka

FLOW = "poison_flow:PoisonFlow"
#: A step in which "slow" runs stay for longer than any test.
SLOW_SECONDS = "600"


class Place:
    """A prefix of its own, a worker that some inputs stop, and the command line."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.folder = folder
        self.prefix = f"dead{uuid4().hex[:8]}"
        self.settings = Settings(
            broker=broker.address, prefix=self.prefix, data_dir=folder, partitions=4
        )
        self.environment = {
            "FLEET_BROKER": broker.address,
            "FLEET_PREFIX": self.prefix,
            "FLEET_DATA_DIR": str(folder),
            "FLEET_PARTITIONS": "4",
        }
        self.fix = folder / "fixed"
        self.worker = self.hire()

    def hire(self) -> WorkerProcess:
        return WorkerProcess(
            "poison_flow",
            self.folder / f"{uuid4().hex[:4]}.log",
            POISON_FIX=str(self.fix),
            POISON_SECONDS=SLOW_SECONDS,
            **self.environment,
        )

    def start(self, topics: Iterable[str], *, to_end: bool = True) -> None:
        """Start a run of each topic, its id; return when all ended, or show something."""
        wanted = list(topics)

        async def run() -> None:
            async with connect(PoisonFlow, settings=self.settings, timeout=300) as flow:
                handlers = [flow.run(Asked(topic=topic), run_id=topic) for topic in wanted]
                if to_end:
                    await asyncio.gather(*handlers, return_exceptions=True)
                else:
                    await asyncio.gather(*(anext(each.stream_events()) for each in handlers))

        asyncio.run(run())

    def __call__(self, *arguments: str) -> Result:
        # The option makes the command read its settings anew.
        command = ("--broker", self.settings.broker, *arguments)
        return CliRunner().invoke(main.main, command, env=self.environment)

    def json(self, *arguments: str) -> Any:
        result = self(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def outcomes(self, *words: str) -> Counter[str]:
        """Return how the runs that have one of *words* in their ids stand."""
        listed = self.json("runs", "list", FLOW, "--limit", "0")
        return Counter(
            run["outcome"] for run in listed if any(word in run["run"] for word in words)
        )


@pytest.fixture(scope="module")
def place(kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """With 20 poisoned runs, 4 that cannot be decoded, and 4 that nothing stops."""
    place = Place(kafka_broker, tmp_path_factory.mktemp("dead"))
    kinds = ["poisoned"] * 20 + ["garbled"] * 4 + ["fine"] * 4
    place.start(f"{kind}-{number}" for number, kind in enumerate(kinds))
    yield place
    place.worker.stop()


def until(is_so: Callable[[], bool]) -> None:
    """Return when it is so; the test's own timeout ends the waiting."""
    while not is_so():
        time.sleep(0.2)


def interrupted_redrive(place: Place) -> subprocess.CompletedProcess[str]:
    """Begin to redrive everything, slowly, and press Ctrl-C when something was asked."""
    command = [
        str(Path(sys.executable).with_name("fleet")),
        *("dead", "redrive", FLOW, "--all", "--rate", "2", "--reason", "judge repaired", "--yes"),
    ]
    environment = {**os.environ, **place.environment, "PYTHONPATH": str(SUPPORT)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until(lambda: place.outcomes("poisoned", "garbled")["failed"] < 24)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def test_poisoned_runs_are_found_and_redriven_after_the_fix(place: Place) -> None:
    """All of them complete, also through a Ctrl-C; each step and reason is known before."""
    found = place.json("dead", "list", FLOW, "--limit", "0")
    kinds = {(each["reason"], each["step"]): each["redrivable"] for each in found["groups"]}
    assert kinds == {("failed", "judge"): 20, ("undecodable", None): 4}
    assert {each["run_outcome"] for each in found["letters"]} == {"failed"}

    refused = place("dead", "redrive", FLOW, "--all", "--reason", "judge repaired")
    assert refused.exit_code == 2
    assert "24 runs to resume, for 24 dead letters." in refused.stderr
    assert place.outcomes("poisoned", "garbled") == {"failed": 24}

    place.fix.touch()
    stopped = interrupted_redrive(place)
    assert stopped.returncode == 130
    assert "of 24 runs to resume" in stopped.stderr
    assert f"fleet dead redrive {FLOW} --all --rate 2" in stopped.stderr

    rest = ("dead", "redrive", FLOW, "--all", "--wait", "--reason", "judge repaired", "--yes")
    went_on = place(*rest)
    assert went_on.exit_code == 0, went_on.stderr
    until(lambda: place.outcomes("poisoned", "garbled") == {"completed": 24})
    after = place.json("dead", "list", FLOW, "--limit", "0")
    assert {(each["redriven"], each["run_outcome"]) for each in after["letters"]} == {
        (True, "completed")
    }

    again = place(*rest)
    assert (again.exit_code, "Nothing to do." in again.stderr) == (0, True)
    written = place.json("audit", "list")
    assert [each["command"] for each in written] == ["dead redrive"] * 2
    assert {each["reason"] for each in written} == {"judge repaired"}
    assert written[1]["details"]["runs"] == 24


def test_a_run_is_shown_with_its_steps_and_values_only_if_wanted(place: Place) -> None:
    """Its life, steps and result type; prompts are for whoever asks for them."""
    story = place.json("runs", "show", FLOW, "fine-24")
    assert [(end["outcome"], end["result_type"]) for end in story["ends"]] == [
        ("completed", "Judged")
    ]
    assert [(step["step"], step["outcome"]) for step in story["steps"]] == [
        ("tell", "returned"),
        ("judge", "returned"),
    ]
    assert "good: fine-24" not in json.dumps(story)

    shown = place.json("runs", "show", FLOW, "fine-24", "--values")
    assert [each["type"] for each in shown["values"]] == ["Asked", "Told", "Judged"]
    assert json.loads(shown["values"][-1]["value"])["verdict"] == "good: fine-24"

    unknown = place("runs", "show", FLOW, "nope")
    assert (unknown.exit_code, "has no run 'nope'" in unknown.stderr) == (2, True)


def test_a_dead_letter_is_shown_with_its_stack_and_its_value_only_if_wanted(place: Place) -> None:
    """The step's own line is in the stack."""
    letters = place.json("dead", "list", FLOW, "--cause", "failed")["letters"]
    letter = place.json("dead", "show", FLOW, letters[0]["letter"])
    assert 'raise LookupError("no judge for it")' in letter["stack"]
    assert "value" not in letter
    with_value = place.json("dead", "show", FLOW, letters[0]["letter"], "--value")
    assert json.loads(with_value["value"]) == {"topic": letters[0]["run"]}
    missing = place("dead", "show", FLOW, "0:100000")
    assert (missing.exit_code, "no dead letter 0:100000" in missing.stderr) == (2, True)


def test_open_runs_are_cancelled_and_others_are_told(place: Place) -> None:
    """The end is in the log when the command returns; what had ended is reported, with 3."""
    place.start((f"slow-{number}" for number in range(3)), to_end=False)
    assert place.outcomes("slow") == {"running": 3}

    mixed = place("runs", "cancel", FLOW, "slow-0", "fine-25", "--reason", "enough", "--yes")
    assert mixed.exit_code == 3
    assert "fine-25 ended before (completed)" in mixed.stderr
    assert place.outcomes("slow") == {"running": 2, "cancelled": 1}

    rest = ("runs", "cancel", FLOW, "--all-open", "--limit", "9", "--reason", "enough", "--yes")
    assert place(*rest).exit_code == 0
    assert place.outcomes("slow") == {"cancelled": 3}
    assert place(*rest).exit_code == 0
    ended = place.json("runs", "list", FLOW, "--outcome", "cancelled")
    assert {run["end"]["reason"] for run in ended} == {"enough"}
    until(lambda: 'outcome="cancelled"' in place.worker.metrics())


def test_a_run_that_was_resumed_is_cancelled_in_its_new_epoch(place: Place) -> None:
    """And can be resumed once more after that, by its old dead letter."""
    place.fix.unlink(missing_ok=True)
    place.start(["poisoned-slow"])
    place.fix.touch()
    redrive = ("dead", "redrive", FLOW, "--run", "poisoned-slow", "--reason", "x", "--yes")
    cancel = ("runs", "cancel", FLOW, "poisoned-slow", "--reason", "x", "--yes")
    for epoch in (1, 2):
        assert place(*redrive).exit_code == 0
        assert place(*cancel).exit_code == 0
        story = place.json("runs", "show", FLOW, "poisoned-slow")
        assert (story["outcome"], story["epoch"]) == ("cancelled", epoch)
    assert [end["outcome"] for end in story["ends"]] == ["failed", "cancelled", "cancelled"]


def test_a_request_that_nobody_answers_is_answered_when_a_worker_runs(place: Place) -> None:
    """The command says so and exits with 3; the run then goes on without another command."""
    place.fix.unlink(missing_ok=True)
    place.start(["poisoned-late"])
    place.worker.terminate()

    ask = ("--run", "poisoned-late", "--reason", "x", "--timeout", "1", "--yes")
    alone = place("dead", "redrive", FLOW, *ask)
    assert alone.exit_code == 3
    assert "no worker of poison answered" in alone.stderr
    assert place.outcomes("poisoned-late") == {"failed": 1}

    place.fix.touch()
    place.worker = place.hire()
    until(lambda: place.outcomes("poisoned-late") == {"completed": 1})
