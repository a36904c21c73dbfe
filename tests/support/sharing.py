"""How several test processes share the tests, and the machine."""

import os

from xdist.scheduler import LoadScopeScheduling

#: Their tests share one broker, and its load: they run one after the other.
ON_A_BROKER = {"acceptance", "behaviour", "integration"}


class ByLoad(LoadScopeScheduling):  # type: ignore[misc]
    """One process runs all tests on the broker; those of another folder run together, too."""

    def _split_scope(self, nodeid: str) -> str:
        folder = nodeid.partition("::")[0].rpartition("/")[0]
        return "broker" if ON_A_BROKER & {*folder.split("/")} else folder


def cores() -> int:
    """Return the machine's cores, divided among the test processes."""
    sharing = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return max(1, (os.cpu_count() or 1) // sharing)
