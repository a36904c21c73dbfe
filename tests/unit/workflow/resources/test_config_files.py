"""The files of `ResourceConfig`: which part is read, and what is said of a wrong one."""

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from fleet import (
    Resource,
    ResourceConfig,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowValidationError,
    connect,
    serve,
    step,
)
from fleet.control import checking
from fleet.workflow.resources.config_files import BadConfigFile, Source


class Limits(BaseModel):
    most: int


def read(content: str, selector: str | None = None) -> Any:
    """Read a file of the working directory."""
    Path("limits.json").write_text(content)
    return Source("limits.json", selector, Limits).read()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_file_or_a_part_of_it_is_a_model() -> None:
    assert read('{"most": 3}') == Limits(most=3)
    assert read('{"a": {"b": {"most": 4}}}', "a.b") == Limits(most=4)


@pytest.mark.parametrize(
    ("content", "selector", "said"),
    [
        ("{", None, "limits.json cannot be read as JSON: Expecting property name"),
        ('{"most": "x"}', None, "limits.json is no Limits: most: Input should be a valid integer"),
        ('{"a": {"b": 1}}', "a.b.c", "limits.json has no object at a.b, but int; correct the file"),
        ('{"a": {}}', "a.b", "limits.json has no object at a.b, but nothing"),
        ('{"a": {}}', "a", "limits.json at a is no Limits: most: Field required"),
        ("[1]", "a", "has no object at a, but nothing"),
        ("[1]", None, "limits.json is no Limits"),
    ],
)
def test_a_wrong_file_is_named(content: str, selector: str | None, said: str) -> None:
    """With the place in it. It is a ValueError, as there."""
    with pytest.raises(BadConfigFile, match=said) as caught:
        read(content, selector)
    assert isinstance(caught.value, ValueError)


def get_most(limits: Annotated[Limits, ResourceConfig("limits.json", "search")]) -> int:
    return limits.most


class Flow(Workflow):
    """Reads a file by way of a factory."""

    @step
    async def work(self, ev: StartEvent, most: Annotated[int, Resource(get_most)]) -> StopEvent:
        return StopEvent(result=most)


async def test_a_missing_file_is_found_before_anything_runs() -> None:
    """Where the workflow runs, and in CI: by `validate`, `run`, `serve` and `fleet check`."""
    said = r"parameter most of step work: No such file: limits.json \(looked for it in "
    made = Flow()
    for act in (made.validate, made.run, lambda: serve(Flow)):
        with pytest.raises(WorkflowValidationError, match=said):
            act()
    (checked,) = checking.check([f"{__name__}:Flow"])
    assert "No such file: limits.json" in checked.findings[0]


async def test_a_caller_needs_no_file() -> None:
    """Another machine has it."""
    assert connect(Flow)


def test_the_check_can_be_left_out() -> None:
    Flow().validate(validate_resource_configs=False)


async def test_without_validation_the_step_finds_it() -> None:
    with pytest.raises(BadConfigFile, match="No such file"):
        await Flow(disable_validation=True).run()


async def test_each_workflow_object_reads_the_file_once() -> None:
    """So a changed file counts for the next one."""
    Path("limits.json").write_text(json.dumps({"search": {"most": 3}}))
    made = Flow()
    assert await made.run() == 3
    Path("limits.json").write_text(json.dumps({"search": {"most": 4}}))
    assert await made.run() == 3
    assert await Flow().run() == 4


def test_validate_says_that_it_calls_no_factory() -> None:
    with pytest.raises(TypeError, match="validate takes no argument 'validate_resources': a cycle"):
        Flow().validate(validate_resources=True)  # type: ignore[call-arg]
