"""
Clients of the openai library for one event loop, as many as the calls in flight need.

httpx walks over all connections of a pool at every call, so the work of one pool grows with the
square of the calls in flight: 2,000 at once took 20 s of CPU in one pool and 4 s in many small
ones. Calls go to the first client that has room, so a quiet process keeps to one.
"""

import importlib
import ipaddress
import ssl
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from openai import AsyncOpenAI

#: Fewer need more clients; more make the walk over a client's connections longer.
CALLS_PER_CLIENT = 32
#: Connections that a client keeps open after a peak of calls.
IDLE_PER_CLIENT = 8
#: openai has 5 s, which thousands of calls that start together exceed on a healthy network: their
#: handshakes queue for the processor.
CONNECT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the model is and how to call it."""

    base_url: str
    api_key: str
    timeout_seconds: float | None
    max_retries: int


@dataclass(slots=True)
class _Lane:
    client: "AsyncOpenAI"
    calls: int = 0


class Connections:
    """The clients of one event loop. They close with the loop, or by `aclose`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lanes: list[_Lane] = []
        self._guard = self._closes_with_the_loop()
        _start(self._guard)

    @property
    def first(self) -> "AsyncOpenAI":
        """The client of quiet times."""
        return self._lane(0).client

    @contextmanager
    def lease(self) -> Iterator["AsyncOpenAI"]:
        """Lend a client for one call; an error that the address may have caused names it."""
        lane = self._free_lane()
        lane.calls += 1
        try:
            yield lane.client
        except Exception as failure:
            name_address(failure)
            raise
        finally:
            lane.calls -= 1

    async def aclose(self) -> None:
        """Close every connection."""
        await self._guard.aclose()

    def _free_lane(self) -> _Lane:
        for lane in self._lanes:
            if lane.calls < CALLS_PER_CLIENT:
                return lane
        return self._lane(len(self._lanes))

    def _lane(self, place: int) -> _Lane:
        if place == len(self._lanes):
            self._lanes.append(_Lane(_client(self._endpoint)))
        return self._lanes[place]

    async def _closes_with_the_loop(self) -> AsyncGenerator[None, None]:
        # asyncio.run, and any other orderly end of a loop, closes the loop's async generators
        # first. So a class-level LLM without an `aclose()` leaves no open socket behind.
        try:
            yield
        finally:
            lanes, self._lanes = self._lanes, []
            for lane in lanes:
                await lane.client.close()


def name_address(failure: Exception) -> None:
    """Add the address of the call to an error of openai: "Connection error." alone says little."""
    openai, _ = _libraries()
    if not isinstance(failure, openai.APIConnectionError | openai.NotFoundError):
        return
    cause = failure.__cause__
    why = f" ({type(cause).__qualname__}: {cause})" if cause is not None else ""
    address = failure.request.url.copy_with(userinfo=b"")
    text = f"{failure.message.rstrip('.')}{why}; called was {address}, see OPENAI_BASE_URL"
    failure.message, failure.args = text, (text, *failure.args[1:])


def _start(guard: AsyncGenerator[None, None]) -> None:
    """Run *guard* to its yield, which tells the loop of it; nothing is awaited."""
    with suppress(StopIteration):
        guard.__anext__().send(None)


def _client(endpoint: Endpoint) -> "AsyncOpenAI":
    openai, http = _libraries()
    transport = openai.DefaultAsyncHttpxClient(
        limits=http.Limits(max_connections=None, max_keepalive_connections=IDLE_PER_CLIENT),
        verify=_tls(),
        # A proxy of the environment would not find a model on this machine.
        trust_env=not _is_loopback(endpoint.base_url),
    )
    return openai.AsyncOpenAI(  # type: ignore[no-any-return]
        base_url=endpoint.base_url,
        api_key=endpoint.api_key,
        timeout=_timeout(endpoint.timeout_seconds),
        max_retries=endpoint.max_retries,
        http_client=transport,
    )


def _timeout(seconds: float | None) -> Any:
    openai, _ = _libraries()
    connect = CONNECT_SECONDS if seconds is None else min(seconds, CONNECT_SECONDS)
    return openai.Timeout(seconds, connect=connect)


def preload() -> None:
    """Import what the first call needs, so that it does not hold up an event loop at work."""
    _libraries()


@cache
def _tls() -> ssl.SSLContext:
    # Shared by all clients: reading the certificates takes 19 ms.
    _, http = _libraries()
    return http.create_ssl_context()  # type: ignore[no-any-return]


@cache
def _libraries() -> tuple[Any, Any]:
    """Return openai and the HTTP library under it: httpx2, or httpx in its older versions."""
    # Imported at the first call: it takes 0.6 s, which tools and tests without a model do not pay.
    openai = importlib.import_module("openai")
    parent = openai.DefaultAsyncHttpxClient.__base__.__module__
    return openai, importlib.import_module(parent.partition(".")[0])


def _is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
