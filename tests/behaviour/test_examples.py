"""
Fourteen workflows in the structure of the reference's published examples, under both libraries.

Only their import lines differ. The results, the errors, and what each branch shows in its order are
the same; of parallel branches it is the same multiset.
"""

import asyncio
from collections import defaultdict
from typing import Any

import pytest

from behaviour import library
from behaviour.library import REFERENCE
from behaviour.runtimes import EXAMPLES, Outcome, Runtime, outcome

#: What the examples write to the stream, each with its branch.
SHOWN = {"Note", "Token"}
ON = ["memory", pytest.param("kafka", marks=pytest.mark.kafka)]


@pytest.mark.parametrize("runtime", ON, indirect=True)
@pytest.mark.parametrize("example", EXAMPLES)
async def test_an_example_does_here_what_it_does_there(runtime: Runtime, example: str) -> None:
    if not library.is_installed():
        pytest.skip("llama-index-workflows is not installed")
    there = Runtime(REFERENCE, lambda flow, given: flow(**given))

    expected = await _seen(there, example)
    found = await _seen(runtime, example)

    assert found == expected


def test_only_the_import_lines_of_an_example_differ() -> None:
    if not library.is_installed():
        pytest.skip("llama-index-workflows is not installed")
    for example in EXAMPLES:
        source = (library.HERE / "examples" / f"{example}.py").read_text()
        pairs = zip(source.splitlines(), library.for_reference(source).splitlines(), strict=True)
        changed = [(ours, theirs) for ours, theirs in pairs if ours != theirs]
        assert changed
        assert all(_is_import(ours) and _is_import(theirs) for ours, theirs in changed)


def _is_import(line: str) -> bool:
    # Of an import on several lines, too.
    names = line.strip().removesuffix(",")
    return line.startswith("from ") or line in ("", ")") or names.isidentifier()


async def _seen(runtime: Runtime, example: str) -> list[dict[str, Any]]:
    """Run an example with each of its inputs; return what its callers see, in plain values."""
    module = runtime.module(f"examples.{example}")
    flow = runtime.flow(f"examples.{example}.{module.FLOW}")
    answer = getattr(module, "answer", lambda _: None)
    if getattr(module, "TOGETHER", False):
        runs = [outcome(flow.run(**given)) for given in module.INPUTS]
        return [_plain(each) for each in await asyncio.gather(*runs)]
    return [_plain(await outcome(flow.run(**given), answer=answer)) for given in module.INPUTS]


def _plain(seen: Outcome) -> dict[str, Any]:
    """Return what can be compared: a failed run's branches are cut off anywhere."""
    branches: dict[str, list[str]] = defaultdict(list)
    for event in seen.stream:
        if type(event).__name__ in SHOWN:
            branches[event.branch].append(event.text)
    return {
        "result": _fields(seen.result),
        "raised": seen.raised,
        "asked": [_fields(each) for each in seen.stream if type(each).__name__ == "Review"],
        "branches": dict(branches) if seen.error is None else branches[""],
        "last": seen.types[-1:] if seen.error is None else [],
    }


def _fields(result: Any) -> Any:
    """Return a result event as its type and the fields that the example declares for it."""
    if not hasattr(result, "model_dump"):
        return result
    declared = type(result).__annotations__
    return type(result).__name__, {name: getattr(result, name) for name in declared}
