"""When runs may end by their deadlines: the broker's clock decides, and no worker's."""

from typing import TYPE_CHECKING

from faust.types import TP

from fleet.records import envelope as envelopes
from fleet.records import lifecycle
from fleet.records.errors import FleetError
from fleet.records.lifecycle import Started, TimedOut
from simulation.broker import Broker
from simulation.plan import Plan
from simulation.worker import TOPICS
from simulation.world import World

if TYPE_CHECKING:
    from simulation.producers import Record

#: How far from its deadline a run may end: early, and late where no worker died, in seconds.
EARLY_SECONDS, LATE_SECONDS = 0.1, 3.0
#: How often a local state may fail in one history, about: seed 15843 has two within half a minute.
_FAILURES = 4


def check(world: World, broker: Broker, plan: Plan) -> None:
    """No run is timed out before its deadline, and none goes on long after it.

    Where the broker's clock was set meanwhile, its time and the true one differ: then either may
    be meant.
    """
    if not plan.clocks.nodes:
        return
    # Of a clock that was another leader's, and was set after that was heard.
    heard = bool(plan.wire.moved_at) and any(clock.steps for clock in plan.clocks.nodes)
    late = LATE_SECONDS + 2 * plan.longest + sum(20 + each.seconds for each in plan.faults)
    late += 0 if plan.is_calm else 30
    # Of a step forward a worker hears with its next record of `runs`: seed 13215 has none for 18 s.
    late += max(sum(each for _, each in clock.steps if each > 0) for clock in plan.clocks.nodes)
    if plan.opening.disk_breaks or plan.opening.disk_fills:
        # A local state that fails costs its task the time until it is opened again, a few times.
        late += _FAILURES * plan.opening.reopen_seconds
    for partition in range(plan.partitions):
        started: dict[str, tuple[Started, Record]] = {}
        for record in broker.at(TP(TOPICS.runs, partition)).records():
            try:
                envelope = envelopes.parse(record.headers)
                happening = lifecycle.decode(envelope.type, record.value or b"")
            except FleetError:
                continue
            # Of a run that waits for a place the time counts from the record that follows.
            if isinstance(happening, Started) and not happening.queued:
                started.setdefault(envelope.run_id, (happening, record))
            elif happening.terminal and envelope.run_id in started:
                begun, base = started.pop(envelope.run_id)
                passed = (record.timestamp - base.timestamp) / 1000, record.true - base.true
                timeout = begun.timeout_seconds or 0.0
                said = f"{envelope.run_id} ends after {passed} of {timeout} s: {happening.kind}"
                early = max(passed) < timeout - EARLY_SECONDS
                if isinstance(happening, TimedOut) and early and not heard:
                    world.violate(f"too early: {said}")
                if timeout and min(passed) > timeout + late:
                    world.violate(f"too late: {said}")
