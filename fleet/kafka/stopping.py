"""
Stopping Kafka's clients so that stopping ends.

aiokafka's fetch loop waits for requests that it has cancelled, and takes a cancellation of its own
for theirs: a consumer that is stopped right after an assignment waits for that loop for ever. The
loop also raises the error of such a request, and then leaves its connections open. So we cancel the
loop until it ends, await its requests before aiokafka does, close the connections in any case, and
limit the time for all of it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaConsumer

from fleet.config import logs

#: How long a client may take to disconnect, in seconds.
STOP_SECONDS = 5.0
#: How long a fetch loop has for one cancellation, in seconds.
_CANCEL_SECONDS = 0.05

_log = logs.get_logger("stopping")
#: Clients that are being stopped, also those whose caller was cancelled meanwhile.
_stopping: set["asyncio.Task[None]"] = set()


class KafkaReader(AIOKafkaConsumer):
    """A consumer in no group; its `stop` ends and leaves no connection open."""

    async def stop(self) -> None:
        """Disconnect."""
        try:
            await end_fetching(self)
            await super().stop()  # type: ignore[no-untyped-call]
        finally:
            await self._client.close()


async def end_fetching(consumer: Any) -> None:
    """End the fetch loop of an aiokafka consumer, and all its open requests."""
    fetcher = consumer._fetcher  # noqa: SLF001 - there is no public way
    if fetcher is None:
        return
    loop, requests = fetcher._fetch_task, fetcher._pending_tasks  # noqa: SLF001 - as above
    while not loop.done():
        loop.cancel()
        await asyncio.wait({loop}, timeout=_CANCEL_SECONDS)
    left = list(requests)
    requests.clear()
    for request in left:
        request.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def stop_client(stop: Callable[[], Awaitable[object]]) -> None:
    """Call *stop* of a client; return when it is done, at the latest after STOP_SECONDS.

    It continues if the caller is cancelled. A client that fails to stop raises nothing: its caller
    has no more use for it.
    """
    stopping = asyncio.create_task(_stop(stop), name="stop client")
    _stopping.add(stopping)
    stopping.add_done_callback(_stopping.discard)
    await asyncio.shield(stopping)


async def stop_reader(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer that is in no group; see `stop_client`."""
    await stop_client(consumer.stop)


async def _stop(stop: Callable[[], Awaitable[object]]) -> None:
    try:
        async with asyncio.timeout(STOP_SECONDS):
            # A task of aiokafka's that has not begun cannot be cancelled without an error.
            await asyncio.sleep(0)
            await stop()
    except TimeoutError:
        _log.warning("client_not_stopped", reason="no end", seconds=STOP_SECONDS)
    except Exception as failure:  # noqa: BLE001 - its caller has no more use for it
        _log.warning("client_not_stopped", reason=repr(failure))
