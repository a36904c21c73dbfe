"""What the parts of one task share."""

from dataclasses import dataclass

from fleet.engine.admission.run_queues import RunQueues
from fleet.engine.admission.suspects import Suspects
from fleet.engine.attempts import Attempt, Attempts
from fleet.engine.clock import BrokerClock
from fleet.engine.commits import Commits
from fleet.engine.context.own_commits import OwnCommits
from fleet.engine.inputs import Inputs
from fleet.engine.ledger import Ledger
from fleet.engine.observing import Guarded
from fleet.engine.timers.deadlines import Deadlines
from fleet.engine.transitions.draft import Draft, Wiring
from fleet.records.topics import Topics
from fleet.workflow.failing.retrying import RetryPolicy

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Parts:
    """Of one task; each part changes only what is its own."""

    name: str
    partition: int
    wiring: Wiring
    ledger: Ledger
    clock: BrokerClock
    inputs: Inputs
    attempts: Attempts
    queues: RunQueues[Attempt]
    commits: Commits
    deadlines: Deadlines
    suspects: Suspects
    own_commits: OwnCommits
    observer: Guarded
    #: Of the steps that have none of their own; None: they are not tried again.
    retry_policy: RetryPolicy | None = None
    #: How long work waits for a step that its worker does not have.
    unknown_step_hours: float = 1.0

    @property
    def until_known_ms(self) -> int:
        """Until when work waits for a step that is missing now: broker time, unix milliseconds."""
        return round(self.clock.now_ms() + self.unknown_step_hours * HOUR_MS)

    @property
    def topics(self) -> Topics:
        """The topics of the step group."""
        return self.wiring.topics

    @property
    def draft(self) -> Draft:
        """What the next commit holds so far."""
        return self.ledger.open
