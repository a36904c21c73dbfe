"""Types that users put into events: what comes back, and what is refused, with the sentence."""

from typing import Any

import pytest
from value_cases import CASES, NEVER, WAYS, Anything, ValueFlow, check, outcome, sent

from fleet import StartEvent, StopEvent, Workflow, WorkflowValidationError, step
from fleet.records.events import UnencodableEvent, encoded


@pytest.fixture(scope="module")
def flow() -> Workflow:
    return ValueFlow(timeout=20)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
async def test_a_value_comes_back_as_it_was_or_is_refused(
    flow: Workflow, case: str, way: str
) -> None:
    """Equal and of its type; or its sender is told the field and the way out."""
    check(case, await outcome(flow, case, way))


@pytest.mark.parametrize("case", NEVER)
def test_a_type_that_never_comes_back_is_refused_at_import(case: str) -> None:
    """When the workflow is made, with the field and the way out."""
    declared, said = NEVER[case]
    kind = sent(case, Anything, declared)

    async def begin(self: Any, ev: StartEvent) -> Any:
        """Return nothing."""

    async def end(self: Any, ev: Any) -> StopEvent:
        return StopEvent()

    begin.__annotations__["return"] = end.__annotations__["ev"] = kind
    flow = type("Flow", (Workflow,), {"begin": step(begin), "end": step(end)})
    with pytest.raises(WorkflowValidationError, match=rf"Anything_{case}\.{said}") as told:
        flow()
    assert "; " in str(told.value)
    # What is only shown is in no annotation.
    with pytest.raises(UnencodableEvent, match=said):
        encoded(kind.model_construct(value=None))
