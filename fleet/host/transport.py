"""
Faust as the host: its worker and consumer group carry our tasks.

The classes here are subclasses of Faust's; nothing is patched.
"""

from typing import Any

from faust.transport import conductor
from faust.transport.drivers import aiokafka as driver

from fleet.host.agents.topics import AgentTopics
from fleet.host.assignor import Assignor
from fleet.host.compatibility import IncompatibleHost, check_host
from fleet.host.consumer import Consumer
from fleet.host.hooks import hook
from fleet.host.host import Host
from fleet.host.thread import ConsumerThread, Subscription
from fleet.records.errors import FleetError

#: How long Faust waits for more new topics (of `ask`, of `group_by`) before it subscribes to them.
#: Its own 45 seconds are for agents that restart all the time. `ask` adds its topic twice, 3
#: seconds apart, and each subscription is a rebalance.
RESUBSCRIBE_SECONDS = 4.0


class AppUnusable(FleetError):
    """Raised when an app cannot carry a workflow any more.

    What to do: Make the workflows before the app starts, and use an app that has not run yet.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"this app cannot run a workflow: {reason}")


class Producer(driver.Producer):
    """Faust's producer, for topics that exist."""

    transport: Any

    @hook
    async def send(self, topic: str, *args: Any, **kwargs: Any) -> Any:
        """Send as Faust does; see `AgentTopics.ensure` for what is raised."""
        await self._ensure_topic(topic)
        return await super().send(topic, *args, **kwargs)

    @hook
    async def send_and_wait(self, topic: str, *args: Any, **kwargs: Any) -> Any:
        """Send as Faust does, and return when it is acknowledged."""
        await self._ensure_topic(topic)
        return await super().send_and_wait(topic, *args, **kwargs)

    async def _ensure_topic(self, topic: str) -> None:
        transport = self.transport
        if not transport.agent_topics.knows(topic) and not transport.host.engines.owns(topic):
            await transport.agent_topics.ensure([topic], transport.host.engines.settings)


class Conductor(conductor.Conductor):
    """Faust's conductor, which subscribes to new topics sooner."""

    _resubscribe_sleep_lock_seconds = RESUBSCRIBE_SECONDS


class Transport(driver.Transport):
    """Faust's Kafka transport with our consumer."""

    Consumer = Consumer
    Producer = Producer
    Conductor = Conductor

    def __init__(self, *args: Any, host: Host, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.host = host
        self.agent_topics = AgentTopics(self.app)


def check_transport(app: Any) -> None:
    """Raise IncompatibleHost if *app* reaches Kafka through another transport than ours."""
    if not isinstance(app.transport, Transport):
        raise IncompatibleHost([f"the app has made its transport itself, a {type(app.transport)}"])


def check_consumer(app: Any) -> None:
    """Raise IncompatibleHost if *app*, which has started, has another consumer than ours."""
    if not isinstance(app.consumer, Consumer):
        raise IncompatibleHost([f"the app has made its consumer itself, a {type(app.consumer)}"])


#: The classes that define hooks.
OVERRIDING = (Assignor, Subscription, ConsumerThread, Consumer, Producer)


def install(app: Any) -> Host:
    """Put a host under a plain `faust.App`, or return the one that it has.

    Raises AppUnusable if the app has begun to use another transport.
    """
    current = app._transport
    if isinstance(current, Transport):
        return current.host
    if app._consumer is not None or app.started:
        raise AppUnusable(
            "it has started already; make the workflow with app=... before the app starts"
        )
    urls = app.conf.broker_consumer
    if urls[0].scheme not in ("kafka", "aiokafka"):
        raise AppUnusable(f"its broker is {urls[0]}; use kafka://")
    if app.conf.consumer_auto_offset_reset != "earliest":
        raise AppUnusable(
            f"its consumer_auto_offset_reset is {app.conf.consumer_auto_offset_reset}, by which "
            "records are skipped; use earliest"
        )
    check_host(OVERRIDING)
    host = Host()
    app.transport = Transport(urls, app, host=host)
    return host
