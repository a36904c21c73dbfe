"""What all tests share: the broker, and which of them one process runs together."""

from typing import Any

import pytest
from sharing import ByLoad

pytest_plugins = ["fleet.dev.pytest_plugin"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByLoad:
    """Divide the tests for `pytest -n 2`, as `.ci/run` calls it."""
    return ByLoad(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a name that is another one in each process: two could not share the tests."""
    for item in items:
        params = getattr(item, "callspec", None)
        values = params.params.values() if params is not None else ()
        sets = (value for value in values if isinstance(value, set | frozenset) and len(value) > 1)
        if " at 0x" in item.nodeid or any(repr(value) in item.nodeid for value in sets):
            raise pytest.UsageError(f"{item.nodeid}: give it ids that are the same in each process")
