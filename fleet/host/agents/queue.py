"""
Records of Faust's own agents and tables, on their way from the fetcher to Faust's streams.

They are held here and handed over in a loop of its own, so that an agent that does not keep up
holds no workflow: while records of a partition are held, no more of it is fetched.
"""

import asyncio
import contextlib
from typing import Any

from faust.types import TP

#: How long agents may take for a batch before the next fetch goes on without them, in seconds.
HAND_OVER_SECONDS = 0.005


class AgentQueue:
    """What was fetched for agents and tables and not handed to them yet."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._app = consumer.app
        self._held: dict[TP, list[Any]] = {}
        self._held_some = asyncio.Event()
        self._held_none = asyncio.Event()

    def holds(self, tp: TP) -> bool:
        """Tell whether records of *tp* are still to be handed over."""
        return tp in self._held

    def hold(self, tp: TP, records: list[Any]) -> None:
        """Take a fetched batch."""
        self._held[tp] = [self._consumer._to_message(tp, record) for record in records]
        self._held_some.set()

    def clear(self) -> None:
        """Forget what is held; Faust seeks back for it."""
        self._held.clear()

    async def handed_over(self) -> None:
        """Give agents a moment for what was fetched, so that the next fetch is for them, too."""
        if self._held:
            self._held_none.clear()
            # Not `wait_for`: it loses a cancellation that comes as soon as it is through.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HAND_OVER_SECONDS):
                    await self._held_none.wait()

    async def run(self) -> None:
        """Hand over what is held, until cancelled."""
        while True:
            await self._held_some.wait()
            self._held_some.clear()
            while self._held:
                tp = next(iter(self._held))
                await self._hand(tp, self._held[tp])
                self._held.pop(tp, None)
            self._held_none.set()

    async def _hand(self, tp: TP, messages: list[Any]) -> None:
        """Hand records to Faust's streams, in the way of its own loop."""
        consumer, app = self._consumer, self._app
        app.monitor.track_tp_end_offset(tp, consumer.highwater(tp))
        for message in messages:
            if not consumer.flow_active or message.generation_id != app.consumer_generation_id:
                # Sought back to after the rebalance. With what is older, Faust would take the
                # records in between for a gap, and gaps for acknowledged.
                return
            read = consumer._read_offset[tp]
            if read is not None and message.offset < read:
                continue
            if read and message.offset - read > 1 and app.topics.acks_enabled_for(tp.topic):
                await consumer._add_gap(tp, read + 1, message.offset)
            await consumer.wait_first(consumer.callback(message), consumer.suspend_flow.wait())
            consumer._read_offset[tp] = message.offset
