"""
Lag for Prometheus, also if no worker runs: a small web server that looks at the broker.

Every scrape makes a look of its own, so its numbers are new. Without scrapes the exporter looks
every few seconds, so it knows whether the broker answers. If a look fails, the page has no lag, and
`fleet_exporter_up` is 0.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from fleet.config import logs
from fleet.config.settings import Settings
from fleet.control.interruption import Interruption
from fleet.control.lag.exporter_metrics import ExporterMetrics
from fleet.control.lag.reader import GroupLag, LagReader
from fleet.kafka.clients import BrokerUnreachable
from fleet.records.errors import ExitCode, FleetError

#: Scrapes within this many seconds share a look: there may be several Prometheus servers.
SHARED_SECONDS = 1.0

_log = logs.get_logger("exporter")


class PortTaken(FleetError):
    """Raised when the exporter cannot listen at its address and port.

    What to do: Choose another `--port` or `--host`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, host: str, port: int, reason: OSError) -> None:
        super().__init__(
            f"cannot listen at {host}:{port} ({reason.strerror}); choose another --port or --host"
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen; port 0 is a free one."""

    host: str
    port: int


class Exporter:
    """Looks at the broker, and keeps the last look."""

    def __init__(self, settings: Settings, every_seconds: float) -> None:
        self.metrics = ExporterMetrics()
        self._settings = settings
        self._every_seconds = every_seconds
        self._reader: LagReader | None = None
        self._looking = asyncio.Lock()
        self._looked = -every_seconds
        self._failure = ""
        self._has_worked = False

    @property
    def unready(self) -> str:
        """Why it has nothing to show yet; empty after the first look that worked.

        A later outage of the broker is no reason: the exporter shows it.
        """
        return "" if self._has_worked else self._failure or "there was no look at the broker yet"

    async def run(self) -> None:
        """Look at the configured interval or more often, until cancelled."""
        try:
            while True:
                await self.refresh(self._every_seconds)
                await asyncio.sleep(max(SHARED_SECONDS, self._every_seconds - self._age()) / 2)
        finally:
            await self._disconnect()

    async def refresh(self, seconds: float = SHARED_SECONDS) -> None:
        """Look, unless the last look was less than *seconds* ago."""
        async with self._looking:
            if self._age() < seconds:
                return
            began = time.monotonic()
            groups = await self._look()
            self._looked = time.monotonic()
            self.metrics.looked(groups, self._looked - began)

    def _age(self) -> float:
        return time.monotonic() - self._looked

    async def _look(self) -> list[GroupLag] | None:
        try:
            groups = await (await self._connected()).look()
        except BrokerUnreachable as failure:
            self._note(str(failure))
        except Exception as failure:  # noqa: BLE001 - without its loop it would show nothing
            _log.exception("look_failed")
            self._note(repr(failure))
        else:
            self._note("")
            return groups
        await self._disconnect()
        return None

    def _note(self, failure: str) -> None:
        if failure and not self._failure:
            _log.warning("broker_lost", reason=failure)
        elif not failure and (self._failure or not self._has_worked):
            _log.info("broker_seen", broker=self._settings.broker)
        self._failure = failure
        self._has_worked = self._has_worked or not failure

    async def _connected(self) -> LagReader:
        if self._reader is None:
            self._reader = await LagReader(self._settings).__aenter__()
        return self._reader

    async def _disconnect(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            with suppress(Exception):
                await reader.close()


async def serve(
    settings: Settings, place: Place, every_seconds: float, ready: Callable[[str], object]
) -> None:
    """Serve until SIGTERM or SIGINT; call *ready* with the address. Raises PortTaken."""
    interruption = Interruption()
    exporter = Exporter(settings, every_seconds)
    async with _listening(exporter, place) as address:
        ready(address)
        looking = asyncio.create_task(exporter.run())
        await interruption.wait()
        looking.cancel()
        await asyncio.wait([looking])


@asynccontextmanager
async def _listening(exporter: Exporter, place: Place) -> AsyncIterator[str]:
    runner = web.AppRunner(_pages(exporter), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, place.host, place.port)
        try:
            await site.start()
        except OSError as failure:
            raise PortTaken(place.host, place.port, failure) from None
        port = runner.addresses[0][1]
        yield f"http://{f'[{place.host}]' if ':' in place.host else place.host}:{port}"
    finally:
        await runner.cleanup()


def _pages(exporter: Exporter) -> web.Application:
    async def metrics(_: web.Request) -> web.Response:
        await exporter.refresh()
        page = generate_latest(exporter.metrics.registry)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def live(_: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def ready(_: web.Request) -> web.Response:
        reason = exporter.unready
        return web.json_response(
            {"ready": not reason, "reason": reason}, status=503 if reason else 200
        )

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/live", live), web.get("/ready", ready)])
    return app
