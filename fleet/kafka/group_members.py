"""
How many workers a step group has now, by its coordinator on the broker.

Asked by who waits for them, over the client that it has: nothing is joined and nothing is changed.
"""

from typing import Any

from aiokafka.client import CoordinationType
from aiokafka.errors import NoError, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest


async def ask(client: Any, group: str) -> int:
    """Return how many members the consumer group *group* has; 0 where there is no such group.

    *client* is an `aiokafka.client.AIOKafkaClient`. Raises KafkaError.
    """
    node = await client.coordinator_lookup(CoordinationType.GROUP, group)
    await client.ready(node)
    response = await client.send(node, DescribeGroupsRequest([group], False))
    [(code, _, _, _, _, members, *_)] = response.groups
    if code != NoError.errno:
        raise for_code(code)(f"the broker does not describe the group {group}")
    return len(members)
