"""
A workflow on the user's own Faust app: worker and caller in one process.

Its topics carry the app's id, so its runs and a fleet's never meet; the app's consumer group reads
them. The app is started at the first run where nobody has started it, and stopped with the event
loop then.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from fleet.api.step_group import on_kafka
from fleet.client.caller import Caller
from fleet.config import settings as configuration
from fleet.config.settings import Settings
from fleet.host import transport, web_port
from fleet.host.event_topic import EventTopics
from fleet.kafka import provision
from fleet.kafka.reader import KafkaLink
from fleet.records.log import Delivered, Outgoing
from fleet.records.topics import Topics
from fleet.workflow import definition
from fleet.workflow.definition import Definition

#: One start at a time, whichever of an app's workflows runs first.
_starting: WeakKeyDictionary[Any, asyncio.Lock] = WeakKeyDictionary()
#: What holds the generators of `_with_the_loop` for as long as their loop.
_lifetimes: WeakKeyDictionary[asyncio.AbstractEventLoop, list[object]] = WeakKeyDictionary()


class Embedding:
    """One workflow's place on an app."""

    def __init__(self, workflow: Definition, app: Any, timeout_seconds: float | None) -> None:
        self._workflow = workflow
        self._app = app
        self._settings = _settings(app)
        self._topics = Topics(
            f"embedded.{app.conf.id}", workflow.workflow_name, workflow.group_name
        )
        carrier = transport.install(app)
        engine = on_kafka(workflow, self._topics, self._settings)
        carrier.engines.add(engine)
        #: The workflow's events, for agents.
        self.events = EventTopics(app, engine, timeout_seconds)

    def caller(self) -> Caller:
        """Return a caller for the running event loop."""
        link = _EmbeddedLink(self._app, self._topics, self._settings, self._workflow)
        link.caller = Caller(type(self._workflow), self._topics, link)
        return link.caller


class _EmbeddedLink:
    """A link that starts the app and connects when it is first used."""

    caller: Caller
    #: The worker is this process, and started before anything is sent.
    workers = None

    def __init__(self, app: Any, topics: Topics, settings: Settings, workflow: Definition) -> None:
        self._app = app
        self._topics = topics
        self._settings = settings
        self._workflow = workflow
        self._link: KafkaLink | None = None
        self._connecting = asyncio.Lock()

    async def follow(self, run_id: str) -> None:
        """See `fleet.client.caller.Link`; the first call connects."""
        await (await self._linked()).follow(run_id)

    def followed_from(self, run_id: str) -> int:
        """Return the offset of `runs` since which its partition has been read without a gap."""
        return self._connected.followed_from(run_id)

    async def send(self, record: Outgoing, *, repeatable: bool) -> None:
        """Append one record."""
        # Also of a run whose start waits for its turn.
        await (await self._linked()).send(record, repeatable=repeatable)

    async def look_back(self, run_id: str, offset: int) -> list[Delivered]:
        """Return the run's records of `runs` from *offset* up to what was taken by now."""
        return await self._connected.look_back(run_id, offset)

    def when_stream_read(self, run_id: str, done: Callable[[], None], *, soon: bool) -> None:
        """Call *done* when the run's partition of `stream` was read to its end."""
        if self._link is not None:
            self._link.when_stream_read(run_id, done, soon=soon)
        else:
            # The app did not start.
            asyncio.get_running_loop().call_soon(done)

    def unfollow(self, run_id: str) -> None:
        """Let the run go."""
        if self._link is not None:
            self._link.unfollow(run_id)

    @property
    def _connected(self) -> KafkaLink:
        assert self._link is not None, "a run is followed before anything else"
        return self._link

    async def _linked(self) -> KafkaLink:
        async with self._connecting:
            if self._link is None:
                self._link = await self._connect()
        return self._link

    async def _connect(self) -> KafkaLink:
        graph = definition.graph(type(self._workflow))
        partitions = await provision.ensure(self._topics, graph, self._settings)
        await _start(self._app)
        link = KafkaLink(self._settings, self._topics, partitions)
        await link.start(self.caller)
        await _with_the_loop(link.stop)
        return link


async def _start(app: Any) -> None:
    async with _starting.setdefault(app, asyncio.Lock()):
        if not app.started:
            web_port.choose_port(app)
            app.conf.datadir.mkdir(parents=True, exist_ok=True)
            await app.start()
            transport.check_consumer(app)
            running = asyncio.create_task(_until_cancelled(app), name=f"app {app.conf.id}")
            await _with_the_loop(partial(_ended, running))


async def _until_cancelled(app: Any) -> None:
    """Stop *app* when the loop's tasks are cancelled, as `asyncio.run` does at its end.

    Faust's supervisor of agents may lose its cancellation then and start the agents again, and
    `asyncio.run` waits for it for ever. A supervisor that is stopped ends.
    """
    try:
        await asyncio.Event().wait()
    finally:
        await app.stop()


async def _ended(running: "asyncio.Task[None]") -> None:
    running.cancel()
    await asyncio.wait({running})


async def _with_the_loop(stop: Callable[[], Awaitable[object]]) -> None:
    """Call *stop* when the event loop is shut down: it closes the generators that are open."""

    async def lifetime() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await stop()

    generator = lifetime()
    await anext(generator)
    _lifetimes.setdefault(asyncio.get_running_loop(), []).append(generator)


def _settings(app: Any) -> Settings:
    servers = [f"{url.host}:{url.port or 9092}" for url in app.conf.broker_consumer]
    return configuration.current().model_copy(update={"broker": f"kafka://{','.join(servers)}"})
