"""A worker that asks for no more records after SIGHUP: `faust -A quiet_flow worker`."""

import asyncio
import logging
import signal
from typing import Any

from who_flow import WhoFlow

from fleet import serve

app: Any = serve(WhoFlow)


@app.task  # type: ignore[untyped-decorator]  # Faust's
async def end_on_hangup() -> None:
    thread = app.consumer._thread
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGHUP, lambda: thread.thread_loop.call_soon_threadsafe(_end, thread)
    )


def _end(thread: Any) -> None:
    fetcher = thread._consumer._fetcher
    for each in (fetcher._fetch_task, *fetcher._pending_tasks):
        each.cancel()
    logging.getLogger("quiet").warning("asks no more")
