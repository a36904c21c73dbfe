"""
A provider that costs money: it counts every call on arrival, over HTTP, in the test's own process.

What a step paid for is what arrived here, whatever became of the worker that asked.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web


@dataclass(slots=True)
class Payment:
    """One call. Times are unix seconds."""

    number: int
    #: Which process asked.
    worker: str
    at: float
    #: None while there is no answer.
    answered: float | None = None


class Provider:
    """Answers after *latency_seconds*, and refuses the numbers that are broken."""

    def __init__(self, latency_seconds: float) -> None:
        self.latency_seconds = latency_seconds
        self.payments: list[Payment] = []
        self.broken: set[int] = set()
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        """Count the call, and answer it."""
        number = int(request.query["number"])
        payment = Payment(number, request.query["worker"], time.time())
        self.payments.append(payment)
        if number in self.broken:
            return web.Response(status=503, text=f"out of order: {number}")
        await asyncio.sleep(self.latency_seconds)
        payment.answered = time.time()
        return web.json_response(number)

    def answered(self) -> int:
        """Return how many calls have an answer."""
        return sum(each.answered is not None for each in self.payments)

    def open_by(self, worker: str) -> int:
        """Return how many calls of *worker* have no answer."""
        return sum(each.answered is None and each.worker == worker for each in self.payments)


@asynccontextmanager
async def served(latency_seconds: float) -> AsyncIterator[Provider]:
    """Serve a provider on a free port."""
    provider = Provider(latency_seconds)
    app = web.Application()
    app.router.add_get("/pay", provider.answer)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        provider.url = f"http://{host}:{port}/pay"
        yield provider
    finally:
        await runner.cleanup()
