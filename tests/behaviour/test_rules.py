"""What is refused, when, and in which words."""

from typing import Any

import pytest

from behaviour import library
from behaviour.library import FLEET
from behaviour.runtimes import Runtime

#: When a rule is looked at, the earliest first.
DECORATION, CONSTRUCTOR, RUN = "decoration", "constructor", "run"
STAGES = [DECORATION, CONSTRUCTOR, RUN]
INVALID, MISCONFIGURED = "WorkflowValidationError", "WorkflowConfigurationError"

#: The rule, when the reference refuses, with what, and what both texts name.
RULES: list[tuple[str, str, str, list[str]]] = [
    ("no_event_parameter", DECORATION, INVALID, ["Event"]),
    ("no_return_annotation", DECORATION, INVALID, ["eturn"]),
    ("no_workers", DECORATION, INVALID, ["num_workers must be an integer greater than 0"]),
    ("half_a_worker", DECORATION, INVALID, ["num_workers must be an integer greater than 0"]),
    ("free_without_a_workflow", DECORATION, INVALID, ["begin", "workflow", "@step"]),
    ("no_step_to_add", DECORATION, INVALID, ["another", "@step"]),
    ("step_added_twice", DECORATION, INVALID, ["begin", "already"]),
    ("union_in_a_join", DECORATION, INVALID, ["b"]),
    ("two_lists", DECORATION, INVALID, ["first", "list"]),
    ("list_and_event", DECORATION, INVALID, ["list"]),
    ("collect_of_no_list", DECORATION, INVALID, ["ev", "Collect", "list"]),
    ("take_of_none", DECORATION, "ValueError", ["Take(n)", "integer"]),
    ("take_of_text", DECORATION, "ValueError", ["Take(n)", "integer"]),
    ("handler_of_another_event", DECORATION, INVALID, ["rescue", "StepFailedEvent"]),
    ("handler_of_two_events", DECORATION, INVALID, ["rescue", "StepFailedEvent"]),
    ("no_recoveries", DECORATION, INVALID, ["max_recoveries must be an integer"]),
    ("steps_as_text", DECORATION, INVALID, ["for_steps must be"]),
    ("no_start", CONSTRUCTOR, MISCONFIGURED, ["NoStart", "StartEvent"]),
    ("two_starts", CONSTRUCTOR, MISCONFIGURED, ["TwoStarts", "StartEvent", "Begin"]),
    ("no_stop", CONSTRUCTOR, MISCONFIGURED, ["NoStop", "StopEvent"]),
    ("no_concurrent_runs", CONSTRUCTOR, INVALID, ["num_concurrent_runs", "greater than 0"]),
    ("unknown_check", CONSTRUCTOR, INVALID, ["spelling", "reachability", "dead_end"]),
    ("accepts_stop", RUN, INVALID, ["after", "StopEvent"]),
    ("never_produced", RUN, INVALID, ["A"]),
    ("never_consumed", RUN, INVALID, ["A"]),
    ("unreachable", RUN, INVALID, ["[reachability]", "island", "bridge"]),
    ("dead_end", RUN, INVALID, ["[dead_end]", "to_a", "to_b"]),
    ("both_at_once", RUN, INVALID, ["[reachability]", "island", "[dead_end]", "circle"]),
    ("join_without_a_list", RUN, INVALID, ["page", "A", "list"]),
    ("two_states", RUN, "ValueError", ["Cat", "Dog"]),
    ("two_wild_handlers", RUN, INVALID, ["one", "other", "handler"]),
    ("handler_of_no_step", RUN, INVALID, ["rescue", "elsewhere"]),
    ("step_with_two_handlers", RUN, INVALID, ["begin", "one", "other"]),
    ("handler_of_a_handler", RUN, INVALID, ["one", "other"]),
    ("failures_without_a_handler", RUN, INVALID, ["[reachability]", "rescue"]),
    ("parts_of_two_levels", RUN, INVALID, ["page", "a", "A", "b", "B", "split"]),
]


@pytest.mark.parametrize(("rule", "stage", "error", "said"), RULES, ids=[each[0] for each in RULES])
async def test_a_broken_rule_is_refused(
    lib: str, rule: str, stage: str, error: str, said: list[str]
) -> None:
    """With the reference's error, no later than there, in words that name what is wrong."""
    found, raised = await _refused(library.module("scenarios.rules", lib), rule)

    assert _is(raised, error, lib), repr(raised)
    for word in said:
        assert word in str(raised)
    assert STAGES.index(found) <= STAGES.index(stage)


@pytest.mark.parametrize(
    ("flow", "result"),
    [("SkipsByStep", "fine"), ("SkipsForAll", "fine"), ("InnerWithoutAJoin", [1, 2])],
)
async def test_checks_are_skipped_by_step_and_by_workflow(
    runtime: Runtime, flow: str, result: object
) -> None:
    """A fan-out that nothing joins gives the join around it nothing."""
    seen = await runtime.run(f"scenarios.skips.{flow}")

    assert (seen.result, seen.raised) == (result, "")


async def test_a_workflow_checks_itself_when_asked(lib: str) -> None:
    """Before its first run; it says nothing if all is well."""
    module = library.module("scenarios.rules", lib)

    assert not library.module("scenarios.nested", lib).Nested().validate()
    with pytest.raises(library.name(lib, INVALID)):
        module.dead_end()().validate()


async def _refused(module: Any, rule: str) -> tuple[str, Exception]:
    """Return at which stage a rule was refused, and with what."""
    try:
        made = getattr(module, rule)()
    except Exception as raised:  # noqa: BLE001 - which it is, the test says
        # The constructor's arguments are given by the function itself.
        built = rule in ("no_concurrent_runs", "unknown_check")
        return (CONSTRUCTOR if built else DECORATION), raised
    try:
        flow: Any = made(timeout=2) if callable(made) else made
    except Exception as raised:  # noqa: BLE001 - as above
        return CONSTRUCTOR, raised
    try:
        await flow.run()
    except Exception as raised:  # noqa: BLE001 - as above
        return RUN, raised
    raise AssertionError(f"{rule} is not refused")


def _is(raised: Exception, error: str, lib: str) -> bool:
    expected = ValueError if error == "ValueError" else library.name(lib, error)
    if isinstance(raised, expected):
        return True
    # Fleet has one error for what a class declares wrongly; it is a kind of the other.
    both = (library.name(lib, INVALID), library.name(lib, MISCONFIGURED))
    return lib == FLEET and isinstance(raised, both)
