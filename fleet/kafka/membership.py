"""
Membership in the consumer group: what ends it, and which process has our place.

With static membership (FLEET_INSTANCE_ID) a process that joins under a name takes the place of its
last holder, and the broker removes the older one. aiokafka would let the older one join again and
take the place back, endlessly. So a process that lost its place asks first who has it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from fleet.config import logs
from fleet.config.settings import Settings
from fleet.kafka.clients import client_arguments
from fleet.records.errors import FleetError

#: How long the group may refuse this worker before the worker gives up, in seconds. A coordinator
#: that moves or starts refuses for a moment, too.
REFUSED_SECONDS = 20.0
#: The broker names static members `<instance id>-<UUID>`.
_UUID_LENGTH = 36

_log = logs.get_logger("membership")


class InstanceTaken(FleetError):
    """Raised when another process has joined the group under this worker's FLEET_INSTANCE_ID.

    What to do: Give each worker a `FLEET_INSTANCE_ID` of its own, such as its pod's name, or none.
    """

    def __init__(self, group: str, instance_id: str, host: str) -> None:
        super().__init__(
            f"another process ({host}) has joined the group {group} as {instance_id}, so this one "
            "is out of it: give each worker a FLEET_INSTANCE_ID of its own, such as its pod's "
            "name, or none"
        )


class GroupRefused(FleetError):
    """Raised when the consumer group refuses this worker.

    What to do: Read the reason in the message: a session time outside of what the broker allows, no
    permission to read the group, or a member that is no worker of Fleet.
    """

    def __init__(self, group: str, failure: BaseException) -> None:
        super().__init__(
            f"the consumer group {group} has refused this worker for {REFUSED_SECONDS:.0f} seconds "
            f"({failure}). InvalidSessionTimeout: FLEET_SESSION_SECONDS must be within the "
            "broker's group.min.session.timeout.ms and group.max.session.timeout.ms; "
            "GroupAuthorizationFailed: the client needs READ on the group; "
            "InconsistentGroupProtocol: a member of the group is no worker of Fleet"
        )


class Refusals:
    """For how long the group has refused this worker without a pause."""

    def __init__(self, group: str, now: Callable[[], float]) -> None:
        self._group = group
        self._now = now
        self._since: float | None = None

    def note(self, failure: BaseException | None) -> None:
        """Note the group's last error, or None; raises GroupRefused after REFUSED_SECONDS."""
        if failure is None:
            self._since = None
            return
        if self._since is None:
            self._since = self._now()
            _log.warning("group_refused", group=self._group, reason=repr(failure))
        if self._now() - self._since >= REFUSED_SECONDS:
            raise GroupRefused(self._group, failure)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a consumer group."""

    member_id: str
    host: str


async def offsets(
    settings: Settings, group: str, topics: Iterable[str], partition: int
) -> dict[str, int]:
    """Return the offsets above 0 that *group* has committed of a partition of each topic.

    Raises KafkaError.
    """
    admin = _admin(settings)
    try:
        await admin.start()
        found: Any = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    committed = {tp.topic: at.offset for tp, at in found.items() if tp.partition == partition}
    return {topic: at for topic in topics if (at := committed.get(topic, 0)) > 0}


async def holder(settings: Settings, group: str, instance_id: str) -> Member | None:
    """Return the member that *group* knows as *instance_id*; None without one.

    None also if the broker does not tell.
    """
    admin = _admin(settings)
    try:
        await admin.start()
        responses: list[Any] = await admin.describe_consumer_groups([group])
    except (KafkaError, OSError) as failure:
        _log.warning("group_not_described", group=group, reason=repr(failure))
        return None
    finally:
        await admin.close()
    members = (member for response in responses for member in _members(response))
    named = (member for member in members if member.member_id[: -_UUID_LENGTH - 1] == instance_id)
    return next(named, None)


def _admin(settings: Settings) -> AIOKafkaAdminClient:
    given = client_arguments(settings)
    return AIOKafkaAdminClient(**{key: value for key, value in given.items() if value is not None})


def _members(response: Any) -> Iterator[Member]:
    for group in response.groups:
        # Error, group, state, protocol type, protocol, members.
        for member_id, _client, host, *_ in group[5]:
            yield Member(member_id, host)
