"""
Pages of a worker's web server: `/metrics` for Prometheus, `/live` and `/ready` for a supervisor.

`/live` answers as long as the event loop turns. A worker whose loop turns and whose tasks make no
progress ends itself (`progress`), so no supervisor has to find that out. `/ready` says whether the
worker serves all that it was assigned. A member of the group without a partition is ready.
"""

from typing import Any

from faust.web import Request, Response, View
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from fleet.host.host import Host

_UNAVAILABLE = 503


def add(app: Any) -> None:
    """Put the pages on an app of ours."""
    app.page("/metrics")(_metrics)
    app.page("/live")(_live)
    app.page("/ready")(_ready)


async def _metrics(view: View, _request: Request) -> Response:
    """Serve the process's metrics for Prometheus."""
    # Not `content_type=`: aiohttp takes no charset there.
    return view.bytes(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _live(view: View, _request: Request) -> Response:
    """Serve 200: this process answers."""
    return view.json({"live": True})


async def _ready(view: View, _request: Request) -> Response:
    """Serve 200 if all partitions are served, else 503 and the reason."""
    app: Any = view.app
    reason = app.host.assignment.unready
    if not reason and app.rebalancing:
        reason = "a rebalance is under way"
    page = {"ready": not reason, "reason": reason, "tasks": _tasks(app.host)}
    return view.json(page, status=_UNAVAILABLE if reason else 200)


def _tasks(host: Host) -> dict[str, dict[str, list[int]]]:
    return {
        engine.topics.engine_id: {
            "loading": sorted(engine.loading),
            "running": sorted(number for number, task in engine.tasks.items() if task.taking),
            "lost": sorted(engine.lost),
        }
        for engine in host.engines
    }
