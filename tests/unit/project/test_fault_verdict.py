"""The checker of the fault table: it finds each kind of violation, and none where there is none."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import verdict
from calls import Call
from verdict import Evidence, Injected, Record, Verdict

RUN = "run-0"


def call(step: str, began: float, user: str = "a", mark: str = "m") -> Call:
    detail = mark if step == "judge" else "topic"
    return Call((RUN, step), user, detail, began, started=began + 0.01, answered=began + 0.5)


def record(kind: str, at: float, **value: object) -> Record:
    return Record(RUN, kind, 0, at, value)


def result(**changes: str) -> dict[str, str]:
    text = f"The prompt was: judge {RUN} 3.0 m"
    return {"topic": "topic", "told": "m", "remembered": "m", "text": text} | changes


def completed(at: float = 5.0, **changes: str) -> Record:
    return record("completed", at, event=json.dumps(result(**changes)))


def evidence() -> Evidence:
    """Return a run of two steps, one of which was in flight at `a` when it was killed."""
    return Evidence(
        submitted={RUN: "topic"},
        got={RUN: result()},
        starts=[record("StartEvent", 0.0)],
        drafts=[record("Draft", 2.5, mark="m")],
        runs=[record("started", 0.5), completed()],
        history=[record("step", 2.5, step="tell"), record("step", 5.0, step="judge")],
        dead=[],
        calls=[call("tell", 0.5), call("tell", 2.0, "b"), call("judge", 3.0, "b")],
        faults=[Injected(1.0, ("a",), gentle=False)],
        returns=[],
    )


def judged(**changes: object) -> Verdict:
    return verdict.judge(replace(evidence(), **changes))  # type: ignore[arg-type]


def test_a_step_that_was_in_flight_is_paid_for_twice_and_that_is_all() -> None:
    """What the promise allows is counted and no violation."""
    found = judged()
    assert found.examples == []
    assert (found.in_flight, found.paid_twice, found.paid_twice_not_in_flight) == ([1], 1, 0)


def test_times_are_those_without_progress() -> None:
    """Work goes on with the first call of another, and progress is the first commit."""
    found = judged()
    assert found.went_on_seconds == [pytest.approx(1.01)]
    assert found.pause_seconds == found.standstill_seconds == [pytest.approx(2.5)]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("lost", {"runs": [record("started", 0.5)]}),
        ("ends_other_than_one", {"runs": [record("started", 0.5)]}),
        ("ends_other_than_one", {"runs": [record("started", 0.5), completed(), completed(6.0)]}),
        ("wrong", {"runs": [record("started", 0.5), record("failed", 5.0)]}),
        ("wrong", {"runs": [record("started", 0.5), completed(told="other")]}),
        ("wrong", {"got": {RUN: result(topic="another")}}),
        ("wrong", {"got": {RUN: "LookupError()"}}),
        ("wrong", {"drafts": [record("Draft", 2.5, mark="other")]}),
        ("wrong", {"calls": [call("tell", 0.5), call("judge", 3.0, mark="other")]}),
        ("duplicates", {"drafts": [record("Draft", 2.5, mark="m")] * 2}),
        ("duplicates", {"starts": [record("StartEvent", 0.0)] * 2}),
        ("duplicates", {"history": [record("step", 2.5, step="tell")] * 2}),
        ("duplicates", {"runs": [record("started", 0.5), record("known", 1.0), completed()]}),
        ("duplicates", {"dead": [record("Draft", 2.5)]}),
        ("run_again", {"calls": [call("tell", 0.5), call("judge", 3.0), call("tell", 2.6)]}),
        ("paid_twice_not_in_flight", {"faults": []}),
        ("paid_twice_not_in_flight", {"faults": [Injected(3.0, ("a",), gentle=False)]}),
    ],
)
def test_a_violation_is_found(kind: str, changes: dict[str, object]) -> None:
    """Each kind is counted and put into words."""
    found = judged(**changes)
    assert getattr(found, kind) > 0
    assert any(each.startswith(f"{kind}: ") for each in found.examples)


def test_it_knows_nothing_of_the_engine() -> None:
    """What judges the engine shares no code with it."""
    code = "import sys, verdict, bare; print([m for m in sys.modules if 'fleet.engine' in m])"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(verdict.__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == "[]"
