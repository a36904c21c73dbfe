"""
What looks after a running consumer: its group, its tasks, its logs, its progress, its loop.

Each is a loop of its own. A watch that finds a reason to end the worker raises it.
"""

from typing import TYPE_CHECKING

import faust

from fleet.host.hook_check import HookCheck
from fleet.host.log_watch import LogWatch
from fleet.host.loop_watch import LoopWatch
from fleet.host.lost_tasks import LostTasks
from fleet.host.progress import Progress
from fleet.kafka.membership import InstanceTaken, Refusals
from fleet.records.errors import FleetError

if TYPE_CHECKING:
    from fleet.host.consumer import Consumer

#: How often the group, the hooks and lost tasks are looked at, in seconds.
WATCH_SECONDS = 2.0


class Watches(faust.Service):
    """The watches of one consumer; they start and stop with it."""

    def __init__(self, consumer: "Consumer", hooks: HookCheck, lost: LostTasks) -> None:
        super().__init__(loop=consumer.loop, beacon=consumer.beacon)
        self._consumer = consumer
        self._host = consumer.host
        self._hooks = hooks
        self._lost = lost
        self._refusals = Refusals(consumer.app.conf.id, consumer.loop.time)

    @faust.Service.task
    async def _watch_group(self) -> None:
        consumer = self._consumer
        while not (self.should_stop or consumer.should_stop):
            await self.sleep(WATCH_SECONDS)
            await self._check_group()
            if consumer.flow_active and not consumer.app.rebalancing:
                self._check_hooks()
                await self._lost.reopen()

    async def _check_group(self) -> None:
        failure = await self._consumer._thread.group_failure()
        if isinstance(failure, InstanceTaken):
            await self._consumer.yield_partitions(failure)
        else:
            self._refusals.note(failure)

    def _check_hooks(self) -> None:
        has_tasks = any(self._host.assignment.owned())
        self._hooks.look(WATCH_SECONDS, due=has_tasks and not self._consumer.app.in_recovery)

    @faust.Service.task
    async def _watch_logs(self) -> None:
        try:
            await LogWatch(self._host, self._host.engines.first.clients).run()
        except FleetError as other:
            await self._consumer.yield_partitions(other)

    @faust.Service.task
    async def _watch_progress(self) -> None:
        position = self._consumer._thread.position_now
        await Progress(self._host, position, self._is_recovering).run()

    def _is_recovering(self) -> bool:
        # How long that may take depends on the size of an app's tables: its operators know.
        app = self._consumer.app
        return bool(app.in_recovery and app.tables)

    @faust.Service.task
    async def _watch_loop(self) -> None:
        # If the app carries several engines, the step's name tells them apart.
        await LoopWatch(self._host.engines.first.observer.loop_blocked).run()
