"""
Whether Faust calls the hooks of a running consumer.

A hook that Faust passes by does nothing, and records are lost or worked on twice. So no record is
taken before Faust has called what comes first, and a worker ends if Faust does not call the rest.
"""

from collections.abc import Callable, Iterable

from fleet.host.compatibility import IncompatibleHost
from fleet.host.hooks import uncalled

#: Faust has called these before it hands us a record.
BEFORE_RECORDS = (
    "_new_consumer_thread",
    "subscribe",
    "on_partitions_revoked",
    "on_partitions_assigned",
    "_drain_messages",
    "_getmany",
)
#: Faust calls these sooner or later if there are tasks and no tables to recover.
SOONER_OR_LATER = (
    "perform_seek",
    "_drain_messages",
    "_filter_tps_with_pending_acks",
    "_new_offset",
)
#: It calls them within this number of its commit intervals.
OVERDUE_COMMITS = 4


class HookCheck:
    """Which hooks of *owner* Faust has called.

    *findings* yields what else of the running consumer is not as it was set up.
    """

    def __init__(
        self, owner: object, findings: Callable[[], Iterable[str]], commit_seconds: float
    ) -> None:
        self._owner = owner
        self._findings = findings
        self._patience_seconds = OVERDUE_COMMITS * commit_seconds
        self._is_checked = False
        #: For how long a hook that is due has not been called.
        self._overdue_seconds = 0.0

    def before_records(self) -> None:
        """Raise IncompatibleHost, before the first record, if Faust passed a hook by."""
        if self._is_checked:
            return
        findings = [*uncalled(self._owner, BEFORE_RECORDS), *self._findings()]
        if findings:
            raise IncompatibleHost([f"not as it has to be: {finding}" for finding in findings])
        self._is_checked = True

    def look(self, seconds: float, *, due: bool) -> None:
        """Look again after *seconds*, with tasks there if *due*.

        Raises IncompatibleHost if Faust has not called a hook for several commits.
        """
        overdue = uncalled(self._owner, SOONER_OR_LATER) if due else []
        self._overdue_seconds = self._overdue_seconds + seconds if overdue else 0.0
        if self._overdue_seconds > self._patience_seconds:
            raise IncompatibleHost([f"{name} is not called" for name in overdue])
