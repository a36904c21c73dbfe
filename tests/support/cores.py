"""How many processes a test may keep busy."""

import os


def cores() -> int:
    """Return the machine's cores, divided among the test processes that share it."""
    sharing = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return max(1, (os.cpu_count() or 1) // sharing)
