"""Where the stream of a run that others began begins in the log."""

from fleet.client.transport import Transport
from fleet.engine.transitions.runs import End, Run
from fleet.records.run_entries import RunEntries
from fleet.workflow.errors import WorkflowRuntimeError

#: How far the clocks of brokers may be apart, in milliseconds.
CLOCKS_MS = 60_000


async def find(transport: Transport, run_id: str) -> int:
    """Return an offset of `stream` before which the run showed nothing.

    That is the log's beginning if this process cannot read the group's state.
    """
    try:
        found = await transport.read_run(run_id)
    except WorkflowRuntimeError:
        # ContextUnreadable, which is a name of Kafka's room.
        return await transport.stream_since(run_id, 0)
    return await of(transport, run_id, found)


async def of(transport: Transport, run_id: str, found: RunEntries) -> int:
    """Return the same of a run whose entries were read.

    Without a time, as of a run whose first commit is under way, that is the log's beginning.
    """
    return await transport.stream_since(run_id, max(_seen_ms(found) - CLOCKS_MS, 0))


def _seen_ms(found: RunEntries) -> int:
    """Return when the first record of a run was appended, in unix milliseconds; 0: not known."""
    if found.open is not None:
        return Run.decode(found.open).seen_ms
    return End.decode(found.end).seen_ms if found.end is not None else 0
