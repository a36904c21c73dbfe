"""
Records of Faust's own agents and tables, on their way from the fetcher to Faust's streams.

A loop of its own hands them over, so an agent that does not keep up holds no workflow. While
records of a partition are held here, no more of it is fetched.
"""

import asyncio
import contextlib
from typing import Any

from faust.types import TP

#: How long the next fetch waits for agents to take a batch, in seconds.
HAND_OVER_SECONDS = 0.005


class AgentQueue:
    """Records that were fetched for agents and tables and not handed to them yet."""

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
        """Forget the held records; Faust seeks back to them."""
        self._held.clear()

    async def handed_over(self) -> None:
        """Give agents a moment for their batch, so that the next fetch is for them, too."""
        if self._held:
            self._held_none.clear()
            # Not `wait_for`: it loses a cancellation that comes as it ends.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HAND_OVER_SECONDS):
                    await self._held_none.wait()

    async def run(self) -> None:
        """Hand over held records until cancelled."""
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
                # Faust seeks back to it after the rebalance. If agents got an older record, Faust
                # would take the records in between for a gap, and a gap for acknowledged.
                return
            read = consumer._read_offset[tp]
            if read is not None and message.offset < read:
                continue
            if read and message.offset - read > 1 and app.topics.acks_enabled_for(tp.topic):
                await consumer._add_gap(tp, read + 1, message.offset)
            await consumer.wait_first(consumer.callback(message), consumer.suspend_flow.wait())
            consumer._read_offset[tp] = message.offset
