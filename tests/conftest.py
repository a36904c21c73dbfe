"""What all tests share: the broker, and which of them one process runs together."""

from pathlib import Path

import pytest

pytest_plugins = ["fleet.dev.pytest_plugin"]

HERE = Path(__file__).parent
#: Their tests share one broker, and its load: they run one after the other.
ON_A_BROKER = {"acceptance", "behaviour", "integration"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests for `pytest -n 2 --dist loadgroup`, as `.ci/run` calls it."""
    for item in items:
        _check_name(item)
        folder, *rest = item.path.relative_to(HERE).parts
        group = "broker" if folder in ON_A_BROKER else "/".join([folder, *rest[:-1]])
        item.add_marker(pytest.mark.xdist_group(group))


def _check_name(item: pytest.Item) -> None:
    """Refuse a name that is another one in each process: two could not share the tests."""
    params = (
        item.callspec.params.values()
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else ()
    )
    sets = (value for value in params if isinstance(value, set | frozenset) and len(value) > 1)
    if " at 0x" in item.nodeid or any(repr(value) in item.nodeid for value in sets):
        raise pytest.UsageError(f"{item.nodeid}: give it ids that are the same in each process")
