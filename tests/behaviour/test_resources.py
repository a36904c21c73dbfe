"""Resources: who makes them, how often, and what they need."""

import json
import re

import pytest

from behaviour import library
from behaviour.runtimes import Runtime

VALIDATION = "WorkflowValidationError"


@pytest.mark.parametrize(
    ("flow", "result"),
    [
        ("SharedResource", ["begun", True]),
        ("FreshResource", True),
        ("NestedResource", "index at client of http://here and http://here"),
        ("OneResourceEach", True),
        ("ConfiguredByFile", [["a"], ["b"], ["B"]]),
    ],
)
async def test_a_step_takes_a_resource(runtime: Runtime, flow: str, result: object) -> None:
    """It is shared by all steps, or made for an attempt; its factory may need others."""
    seen = await runtime.run(f"scenarios.resources.{flow}")

    assert (seen.result, seen.raised) == (result, "")


async def test_runs_of_one_object_share_a_resource(runtime: Runtime) -> None:
    """A worker on Kafka is one object."""
    made = runtime.flow("scenarios.resources.AsyncResource")
    first, second = await made.run(), await made.run()

    assert first == second


async def test_a_factory_that_raises_fails_the_step(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.resources.BrokenResource")

    assert isinstance(seen.error, LookupError)
    assert str(seen.error) == "no such index"


def test_a_file_that_does_not_fit_is_a_finding(lib: str) -> None:
    """The message names the step, the parameter and what is wrong."""
    module, error = library.module("scenarios.resources", lib), library.name(lib, VALIDATION)
    flow = module.FileComesLater()
    module.LATER.unlink(missing_ok=True)
    for said in ("No such file", "valid list"):
        with pytest.raises(error, match=said) as caught:
            flow.validate()
        assert re.search("step '?begin", str(caught.value))
        assert re.search("parameter '?config", str(caught.value))
        module.LATER.write_text(json.dumps({"categories": "many"}))
    flow.validate(validate_resource_configs=False)


def test_a_file_is_json(lib: str) -> None:
    with pytest.raises(ValueError, match="JSON"):
        library.name(lib, "ResourceConfig")("limits.yaml")
