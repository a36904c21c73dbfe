"""`fleet runs`, `fleet dead` and `fleet replay` with runs that fan out, on a real broker."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import bare
import pytest
from click.testing import CliRunner, Result
from spread_flow import Split, SpreadFlow
from workers import WorkerProcess

from fleet import connect
from fleet.cli import main
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.records.topics import Topics

pytestmark = pytest.mark.kafka

FLOW = "spread_flow:SpreadFlow"


class Place:
    """A prefix of its own, a worker that some runs stop until it is repaired, the command line."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        prefix = f"spread{uuid4().hex[:8]}"
        self.bootstrap = broker.address.removeprefix("kafka://")
        self.settings = Settings(
            broker=broker.address, prefix=prefix, data_dir=folder, partitions=2
        )
        self.topics = Topics(prefix, SpreadFlow.workflow_name, SpreadFlow.group_name)
        self.environment = {
            "FLEET_BROKER": broker.address,
            "FLEET_PREFIX": prefix,
            "FLEET_DATA_DIR": str(folder),
            "FLEET_PARTITIONS": "2",
        }
        self.fix, self._paid = folder / "fixed", folder / "paid"
        self._paid.touch()
        self.worker = WorkerProcess(
            "spread_flow",
            folder / "worker.log",
            SPREAD_FIX=str(self.fix),
            SPREAD_PAID=str(self._paid),
            **self.environment,
        )

    def run(self, run_id: str, start: Split, *, to_end: bool = True) -> None:
        """Start a run; return when it has ended, or has shown an event."""

        async def go() -> None:
            async with connect(SpreadFlow, settings=self.settings, timeout=300) as flow:
                handler = flow.run(start, run_id=run_id)
                if to_end:
                    await asyncio.gather(handler, return_exceptions=True)
                else:
                    await anext(handler.stream_events())

        asyncio.run(go())

    def paid(self) -> Counter[str]:
        """Return what steps have done since the last look."""
        lines = Counter(self._paid.read_text().splitlines())
        self._paid.write_text("")
        return lines

    def __call__(self, *arguments: str) -> Result:
        # The option makes the command read its settings again.
        command = ("--broker", self.settings.broker, *arguments)
        return CliRunner().invoke(main.main, command, env=self.environment)

    def json(self, *arguments: str) -> Any:
        result = self(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def outcomes(self, word: str) -> list[str]:
        """Return how the runs whose ids begin so stand."""
        listed = self.json("runs", "list", FLOW, "--limit", "0")
        return [run["outcome"] for run in listed if run["run"].startswith(word)]

    def kept(self, run_id: str) -> set[bytes]:
        """Return the kinds of entries that the state has of a run, as its changelog has them."""
        entries = {
            record.key or b"": record.value
            for record in asyncio.run(bare.read(self.bootstrap, self.topics.state))
        }
        return {
            key.split(b"\0")[0]
            for key, value in entries.items()
            if value is not None and run_id.encode() in key.split(b"\0")
        }


@pytest.fixture(scope="module")
def place(kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """With a worker."""
    place = Place(kafka_broker, tmp_path_factory.mktemp("spread"))
    yield place
    place.worker.stop()


def until(is_so: Callable[[], bool]) -> None:
    """Return when it is so; the test's own timeout ends the waiting."""
    while not is_so():
        time.sleep(0.2)


@pytest.fixture(autouse=True)
def broken(place: Place) -> None:
    """Begin each test with a worker that is not repaired."""
    place.fix.unlink(missing_ok=True)


def test_a_redrive_pays_for_the_branches_that_failed_alone(place: Place) -> None:
    """One command for several letters of a run; the join begins once, with all members."""
    failing = (7, 19)
    place.run("parts", Split(parts=20, failing=failing))
    letters = place.json("dead", "list", FLOW, "--run", "parts")["letters"]
    assert {each["joined"] for each in letters} == {None}
    before = place.paid()

    place.fix.touch()
    redrive = ("dead", "redrive", FLOW, "--run", "parts", "--wait", "--reason", "fixed", "--yes")
    assert place.json(*redrive)["outcomes"] == {"completed": 1}
    after = place.paid()
    assert before + after == Counter([*(f"work {n}" for n in range(20)), "join"])
    assert {f"work {n}" for n in failing} <= after.keys()

    shown = place.json("runs", "show", FLOW, "parts", "--values")
    assert json.loads(shown["values"][-1]["value"])["parts"] == list(range(20))
    assert place.kept("parts") == {b"e"}


def test_a_join_that_failed_is_shown_as_one_and_redriven_with_its_members(place: Place) -> None:
    """It has no record in a topic; no branch runs again."""
    place.run("join", Split(parts=30, join_fails=True))
    assert place.paid() == Counter(f"work {n}" for n in range(30))
    [letter] = place.json("dead", "list", FLOW, "--run", "join")["letters"]
    assert (letter["step"], letter["joined"], letter["offset"]) == ("join", 30, None)
    whole = place.json("dead", "show", FLOW, letter["letter"])
    assert whole["origin"] == "a join of 30 events"
    assert "not repaired yet" in whole["stack"]

    place.fix.touch()
    redrive = ("dead", "redrive", FLOW, letter["letter"], "--wait", "--reason", "x", "--yes")
    assert place.json(*redrive)["outcomes"] == {"completed": 1}
    assert place.paid() == Counter(["join"])
    assert place.kept("join") == {b"e"}


def test_a_run_with_many_branches_is_shown_in_a_few_lines(place: Place) -> None:
    """Unless all are wanted; JSON has each."""
    place.run("wide", Split(parts=200))
    shown = place("runs", "show", FLOW, "wide")
    steps = [line.split() for line in shown.stdout.split("Steps:")[1].strip().splitlines()]
    assert [line[3:6] for line in steps[1:]] == [
        ["split", "Split", "1"],
        ["work", "Part", "200"],
        ["join", "Done", "1"],
    ]
    assert "--all lists each" in shown.stderr
    every = place("runs", "show", FLOW, "wide", "--all")
    assert every.stdout.count(" work ") == 200
    assert len(place.json("runs", "show", FLOW, "wide")["steps"]) == 202


def test_a_run_that_is_cancelled_in_its_fan_out_ends(place: Place) -> None:
    """What is in flight is stopped; its end is in the log when the command returns."""
    place.run("slow", Split(parts=10, slow=(3, 4)), to_end=False)
    done = place.json("runs", "cancel", FLOW, "slow", "--reason", "enough", "--yes")
    assert done["cancelled"] == ["slow"]
    shown = place.json("runs", "show", FLOW, "slow")
    assert [end["outcome"] for end in shown["ends"]] == ["cancelled"]
    assert "join" not in {step["step"] for step in shown["steps"]}


def test_an_event_of_a_fan_out_begins_no_run_that_never_ends(place: Place) -> None:
    """Refused if it leads only to the join, with the way out; nothing is sent."""
    place.run("first", Split(parts=3))
    replay = ("replay", f"{FLOW}.Done", "--run", "first", "--reason", "x", "--yes")
    for context in ((), ("--context", "empty")):
        refused = place(*replay, *context)
        assert refused.exit_code == 2
        assert "join would never fire" in refused.stderr
        assert f"`fleet replay {FLOW}.Split --run ID`" in refused.stderr
    assert len(asyncio.run(bare.read(place.bootstrap, place.topics.event("Done")))) >= 3
    assert not [run for run in place.json("runs", "list", FLOW) if "replay" in run["run"]]

    begun = place.json("replay", f"{FLOW}.Split", "--run", "first", "--reason", "x", "--yes")
    until(lambda: place.outcomes(f"replay-{begun['replay']}") == ["completed"])


def test_a_branch_that_may_end_its_run_begins_one_without_the_fan_out(place: Place) -> None:
    """It is told that the join takes no part; the new run's events carry nothing of the old one."""
    place.run("alone", Split(parts=1, alone=(0,)))
    replay = ("replay", f"{FLOW}.Part", "--run", "alone", "--reason", "x", "--yes")
    told = place(*replay, "--context", "empty", "--json")
    assert "In such runs join never fires" in told.stderr
    begun = f"replay-{json.loads(told.stdout)['replay']}"
    until(lambda: place.outcomes(begun) == ["completed"])
    [sent] = [
        record
        for record in asyncio.run(bare.read(place.bootstrap, place.topics.event("Part")))
        if bare.run_id(record).startswith(begun)
    ]
    assert not {name for name, _ in sent.headers} & {"fleet-scope", "fleet-order", "fleet-batch"}
