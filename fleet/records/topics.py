"""
Names of topics and of the engine: where a workflow is on the broker.

An engine id names the state topic, the data folder and the transactional ids, so it is permanent.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topics:
    """Every topic of one step group of one workflow, under one prefix."""

    prefix: str
    workflow: str
    group: str

    @property
    def engine_id(self) -> str:
        """Name of the group's engine: state, folder, transactions, and, served, consumer group."""
        return f"{self.prefix}.{self.workflow}.{self.group}"

    def event(self, type_name: str) -> str:
        """Return the topic of the events of one type."""
        return f"{self.prefix}.{self.workflow}.{type_name}"

    @property
    def runs(self) -> str:
        """Lifecycle records."""
        return f"{self.prefix}.{self.workflow}.runs"

    @property
    def history(self) -> str:
        """Step records; tools read them."""
        return f"{self.prefix}.{self.workflow}.history"

    @property
    def inbox(self) -> str:
        """Events sent to a run from outside, and types that no step annotates."""
        return f"{self.prefix}.{self.workflow}.inbox"

    @property
    def stream(self) -> str:
        """Events that steps write for the caller to watch."""
        return f"{self.prefix}.{self.workflow}.stream"

    @property
    def dead(self) -> str:
        """Records that the group could not process."""
        return f"{self.engine_id}.dead"

    @property
    def audit(self) -> str:
        """Changes made with the command line; one topic for all workflows of a prefix."""
        return audit(self.prefix)

    @property
    def state(self) -> str:
        """Changelog of the group's state, compacted."""
        return f"{self.engine_id}.state"

    def consumed(self, event_types: Iterable[str]) -> list[str]:
        """Return the topics that the group reads: its events, runs and inbox."""
        return [*(self.event(name) for name in sorted(event_types)), self.runs, self.inbox]

    def all(self, event_types: Iterable[str]) -> list[str]:
        """Return every topic that must exist before a worker subscribes."""
        return [*self.consumed(event_types), self.history, self.stream, self.dead, self.state]


def audit(prefix: str) -> str:
    """Return the topic of the changes that people make with the command line."""
    return f"{prefix}.audit"
