"""
For tests of your workflows: a runner, a fake model, virtual time, failures on purpose, and a run
from production that fails again on your machine.

None of it needs pytest. Fleet's pytest plugin, which is loaded by itself, adds the fixtures
`fleet_broker` and `scripted_llm`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleet.testing.clock import virtual_time
    from fleet.testing.failures import WorkerCrash, crash_worker, fail_step
    from fleet.testing.fake_llm import FakeLLM
    from fleet.testing.replaying import replay
    from fleet.testing.runner import WorkflowTestResult, WorkflowTestRunner

# Loaded at first use: pytest loads the plugin in every session, also if nothing tests a workflow.
_HOMES = {
    "FakeLLM": "fleet.testing.fake_llm",
    "WorkerCrash": "fleet.testing.failures",
    "WorkflowTestResult": "fleet.testing.runner",
    "WorkflowTestRunner": "fleet.testing.runner",
    "crash_worker": "fleet.testing.failures",
    "fail_step": "fleet.testing.failures",
    "replay": "fleet.testing.replaying",
    "virtual_time": "fleet.testing.clock",
}

__all__ = [
    "FakeLLM",
    "WorkerCrash",
    "WorkflowTestResult",
    "WorkflowTestRunner",
    "crash_worker",
    "fail_step",
    "replay",
    "virtual_time",
]

if not TYPE_CHECKING:
    # Type checkers read the imports above; with this they would accept any name.

    def __getattr__(name: str) -> Any:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"fleet.testing has no {name}", name=name)
        return getattr(importlib.import_module(home), name)
