"""
Follows runs that others began: this process has nothing but their ids.

The group's state says what has become of a run. An end that the state does not have yet stands in
`runs` behind the position up to which the group has read it.
"""

from functools import partial

from fleet.client.follower import Follower
from fleet.client.open_run import OpenRun
from fleet.client.streams import beginning
from fleet.client.transport import Transport
from fleet.client.waits import Waits
from fleet.engine.transitions.runs import End, Run
from fleet.workflow.calling.results import Outcome
from fleet.workflow.errors import RunUnknown


class Attaching:
    """Finds the place in the log from which a run is followed."""

    def __init__(self, transport: Transport, follower: Follower, waits: Waits) -> None:
        self._transport = transport
        self._follower = follower
        self._waits = waits

    async def attach(self, run: OpenRun, *, unseen: bool) -> None:
        """Follow *run*; end its wait with RunUnknown if no worker has seen it, unless *unseen*."""
        run_id = run.handler.run_id
        run.followed = True
        await self._transport.follow(run_id)
        run.handler.stream.followed_from(self._transport.stream_position(run_id))
        found = await self._transport.read_run(run_id)
        run.handler.stream.begins(partial(beginning.of, self._transport, run_id, found))
        if found.known:
            run.handler.judged()
        if found.end is not None:
            end = End.decode(found.end)
            run.epoch, run.handler.outcome = end.epoch, end.outcome
            await self._follower.look_for_end(run, end.offset, is_end=True)
        else:
            run.epoch = Run.decode(found.open).epoch if found.open is not None else 0
            in_log = await self._follower.look_for_end(run, found.runs_position)
            if not (found.known or in_log or unseen):
                self._waits.close(run, Outcome(error=RunUnknown(run_id)))
        run.note_sent()
