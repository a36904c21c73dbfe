"""
Reads the context of a run for its caller: from the group's state, or from the record of its result.

While a run goes on, and after it ended without a result, its context is in the state. A completed
run has left the state, and the record of its result brings the last context.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fleet.client.run_context import ContextGone, ContextNotKept, FinalContext
from fleet.client.transport import Transport
from fleet.engine.transitions.final_context import MOST_BYTES
from fleet.engine.transitions.runs import End
from fleet.records import envelope as envelopes
from fleet.records import lifecycle, state
from fleet.records.errors import FleetError
from fleet.records.lifecycle import Completed
from fleet.records.state import MemoryState, Overlay, View
from fleet.workflow.context_state import leaves, state_type
from fleet.workflow.context_state.reader import Reader
from fleet.workflow.graph import Graph

if TYPE_CHECKING:
    from fleet.client.handler import WorkflowHandler


def of(completed: Completed) -> FinalContext:
    """Return the context that a record of a result brings."""
    return FinalContext(completed.context, completed.context_bytes)


class ContextReader:
    """Reads the contexts of the runs of one workflow."""

    def __init__(self, graph: Callable[[], Graph], transport: Transport) -> None:
        self._graph = graph
        self._transport = transport

    async def read(self, handler: "WorkflowHandler[Any]") -> Reader:
        """Return what is committed of a run's context; raise ContextNotKept or ContextGone."""
        if handler.final_context is not None:
            return self._final(handler.run_id, handler.final_context)
        found = await self._transport.read_run(handler.run_id)
        end = End.decode(found.end) if found.end is not None else None
        if end is None and not found.known and handler.has_ended:
            raise ContextGone(handler.run_id)
        if end is None or end.resumable:
            return self._reader(handler.run_id, found.context)
        return self._final(handler.run_id, await self._ended(handler, end))

    async def _ended(self, handler: "WorkflowHandler[Any]", end: End) -> FinalContext:
        """Return the last context of a run of whose result this handler has not heard yet."""
        await handler.until_done()
        if handler.final_context is not None:
            return handler.final_context
        for record in await self._transport.look_back(handler.run_id, end.offset):
            if record.offset == end.offset:
                try:
                    envelope = envelopes.parse(record.headers)
                    completed = lifecycle.decode(envelope.type, record.value or b"")
                except FleetError:
                    break
                if isinstance(completed, Completed):
                    return of(completed)
        raise ContextGone(handler.run_id)

    def _final(self, run_id: str, final: FinalContext) -> Reader:
        if final.size:
            raise ContextNotKept(run_id, final.size, MOST_BYTES)
        context = Overlay(MemoryState())
        if final.text:
            leaves.begin(context, final.text, state.context_prefix(run_id))
        return self._reader(run_id, context)

    def _reader(self, run_id: str, context: View) -> Reader:
        kind = state_type.of(self._graph().state_model)
        return Reader(context, state.context_prefix(run_id), kind)
