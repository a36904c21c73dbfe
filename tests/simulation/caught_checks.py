"""What must hold of failures that handlers take: checked with each transaction, and at the end."""

from collections import Counter

from fleet.records import envelope as envelopes
from fleet.records.envelope import failure_id
from fleet.records.events import type_name
from fleet.records.lifecycle import Failed, StepRecord
from fleet.workflow import definition
from fleet.workflow.failing.step_failed import StepFailedEvent
from simulation.caught import TRIES, CaughtFlow
from simulation.checks import Checks
from simulation.producers import Record, Transaction
from simulation.worker import TOPICS
from simulation.world import World

_GRAPH = definition.graph(CaughtFlow)
_KIND = type_name(StepFailedEvent)
_TOPIC = TOPICS.event(_KIND)


class CaughtChecks:
    """The promises about failures and their handlers, of one history."""

    def __init__(self, world: World, untried: set[str]) -> None:
        self._world = world
        #: Runs whose failing step raises what no policy is asked about.
        self._untried = untried
        #: By the id of an event: that of the event that it came from.
        self._parents: dict[str, str] = {}
        #: What the attempts of each step for its event came to.
        self._tries: dict[tuple[str, str], list[str]] = {}
        #: The handler of each failure that was caught, by the id of the handler's event.
        self._handlers: dict[str, str] = {}

    def on_commit(self, transaction: Transaction) -> None:
        """A transaction is committed."""
        records = [record for part in transaction.parts.values() for record in part]
        steps = [record for record in records if record.topic == TOPICS.history]
        for record in records:
            if record.topic in (TOPICS.history, *map(TOPICS.event, _GRAPH.accepting)):
                self._note_parent(record)
        expected = set()
        for record in steps:
            step = StepRecord.decode(record.value or b"")
            tries = self._tries.setdefault((step.event_id, step.step), [])
            tries.append(step.outcome)
            may_be_tried = (record.key or b"").decode() not in self._untried
            if step.step == "shape" and step.sent and step.outcome == "raised" and may_be_tried:
                self._check_tries(tries)
            if step.outcome == "raised" and step.sent:
                expected.add(failure_id(step.event_id, step.step))
        self._check_caught([one for one in records if one.topic == _TOPIC], expected)

    def _check_tries(self, tries: list[str]) -> None:
        """A handler comes when its step is not tried again."""
        if tries.count("retried") < TRIES - 1:
            self._world.violate(f"a handler gets the failure of a step after {tries}")

    def _note_parent(self, record: Record) -> None:
        try:
            envelope = envelopes.parse(record.headers)
        except envelopes.BrokenEnvelope:
            return
        if envelope.parent_id:
            self._parents[envelope.event_id] = envelope.parent_id

    def _check_caught(self, events: list[Record], expected: set[str]) -> None:
        """Each failure that is caught is told once, in the commit that has it."""
        found = set()
        for record in events:
            envelope = envelopes.parse(record.headers)
            handler = _GRAPH.step_by_name[envelope.step]
            if envelope.event_id in self._handlers:
                self._world.violate(f"{handler.name} hears twice of {envelope.event_id}")
            self._handlers[envelope.event_id] = handler.name
            found.add(envelope.event_id)
            lineage = self.lineage(envelope.event_id)
            if dict(envelope.recoveries) != dict(lineage):
                told = f"{envelope.event_id} says {envelope.recoveries}, and comes of {lineage}"
                self._world.violate(told)
            catches = handler.options.catches
            if catches is None or lineage[handler.name] > catches.max_recoveries:
                self._world.violate(f"{handler.name} runs once more than it may: {lineage}")
        # Of what the broker refuses the history was written before.
        if not expected <= found:
            self._world.violate(f"{expected - found} are not told to any handler")

    def lineage(self, event_id: str) -> Counter[str]:
        """Return how often each handler ran among what an event comes from, and itself."""
        found: Counter[str] = Counter()
        while event_id:
            if event_id in self._handlers:
                found[self._handlers[event_id]] += 1
            event_id = self._parents.get(event_id, "")
        return found

    def check_the_end(self, checks: Checks) -> None:
        """No run fails with what a handler could have taken."""
        for run_id in sorted(checks.ends):
            for end in checks.every_end(run_id):
                if isinstance(end, Failed) and self._is_wrong(end):
                    told = f"{run_id} fails in {end.step}, which has a handler: {end.failure.type}"
                    self._world.violate(told)

    def _is_wrong(self, end: Failed) -> bool:
        handler = _GRAPH.handler_of.get(end.step)
        if handler is None or handler.options.catches is None:
            return False
        used = self.lineage(end.event_id)[handler.name]
        return used < handler.options.catches.max_recoveries
