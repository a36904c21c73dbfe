"""
Whether the installed Faust and aiokafka are the ones that Fleet was made for.

Fleet overrides and uses private names of both. An upgrade that changes one of them would silently
lose or repeat work, so it must fail loudly, before a record is taken. `check_host` compares the
versions, looks for every name, and checks that hooks take the arguments that Faust gives them. It
also requires Faust's compiled stream: the other one acknowledges records of an older assignment.
"""

import dis
import inspect
import types
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from typing import Any

import aiokafka
import faust
import faust.streams
import mode
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import (
    Assignment,
    Subscription,
    SubscriptionState,
    TopicPartitionState,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager
from faust.agents.replies import ReplyConsumer
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor
from faust.transport import conductor
from faust.transport.drivers import aiokafka as driver
from faust.web.drivers import aiohttp as aiohttp_driver

from fleet.host.hooks import hooks_of
from fleet.records.errors import FleetError

#: The versions that were tested, as pinned in pyproject.toml.
TESTED_VERSIONS = {
    "faust-streaming": "0.15.3",
    "mode-streaming": "0.7.1",
    "aiokafka": "0.14.0",
    "rocksdict": "0.3.29",
}

#: Attributes of a class or of its instances that Fleet reads, sets or replaces.
_ATTRIBUTES: Mapping[type, tuple[str, ...]] = {
    faust.App: (
        "_consumer",
        "_reply_consumer",
        "_transport",
        "consumer_generation_id",
        "in_recovery",
        "rebalancing",
        "topics",
    ),
    ReplyConsumer: ("_fetchers",),
    conductor.Conductor: ("_resubscribe_sleep_lock_seconds", "_tp_index"),
    driver.Transport: ("Consumer", "Producer", "Conductor"),
    PartitionAssignor: (
        "_assignment",
        "_compress",
        "_decompress",
        "_member_urls",
        "_table_manager",
        "_topic_groups",
        "_url",
    ),
    ClientAssignment: ("actives", "standbys"),
    ClientMetadata: ("assignment", "external_topic_distribution", "url"),
    aiohttp_driver.Web: ("_runner", "_transport_handlers"),
    driver.AIOKafkaConsumerThread: ("_assignor", "_consumer", "parent_loop"),
    driver.Consumer: (
        "_acked",
        "_acked_index",
        "_committed_offset",
        "_read_offset",
        "_thread",
        "_unacked_messages",
        "flow_active",
        "suspend_flow",
    ),
    aiokafka.AIOKafkaConsumer: (
        "_client",
        "_coordinator",
        "_fetch_max_bytes",
        "_fetch_max_wait_ms",
        "_fetcher",
        "_isolation_level",
        "_max_poll_interval_ms",
        "_loop",
        "_partition_assignment_strategy",
        "_subscription",
    ),
    Fetcher: (
        "_fetch_task",
        "_isolation_level",
        "_max_partition_fetch_bytes",
        "_pending_tasks",
    ),
    SubscriptionState: ("subscription", "topics"),
    Subscription: ("assignment",),
    TopicPartitionState: ("has_valid_position", "lso", "position"),
    GroupCoordinator: ("_assignors", "member_id"),
    aiokafka.AIOKafkaProducer: ("_sender", "_txn_manager", "client"),
    AIOKafkaClient: ("cluster",),
    TransactionManager: (
        "producer_epoch",
        "producer_id",
        "transaction_timeout_ms",
        "transactional_id",
    ),
}

#: Methods that Fleet calls, with the names of their parameters.
_METHODS: Mapping[type, Mapping[str, tuple[str, ...]]] = {
    faust.App: {"_new_transport": (), "_create_directories": ()},
    faust.Topic: {"_clone_args": ()},
    mode.Worker: {"_stop_on_signal": ("signal",), "on_worker_shutdown": ()},
    conductor.Conductor: {"acks_enabled_for": ("topic",)},
    driver.AIOKafkaConsumerThread: {
        "_ensure_consumer": (),
        "call_thread": ("fun", "args", "kwargs"),
        "seek_wait": ("partitions",),
    },
    driver.Consumer: {
        "_add_gap": ("tp", "offset_from", "offset_to"),
        "_is_changelog_tp": ("tp",),
        "_to_message": ("tp", "record"),
        "_wait_next_records": ("timeout",),
    },
    Assignment: {"state_value": ("tp",)},
    GroupCoordinator: {"check_errors": (), "request_rejoin": ()},
    AIOKafkaClient: {
        "force_metadata_update": (),
        "get_random_node": (),
        "send": ("node_id", "request", "group"),
    },
    ClusterMetadata: {"leader_for_partition": ("partition",)},
    Sender: {
        "_coordinator_dead": ("coordinator_type",),
        "_find_coordinator": ("coordinator_type", "coordinator_key"),
    },
    BatchBuilder: {
        "_build": (),
        "_set_producer_state": ("producer_id", "producer_epoch", "base_sequence"),
    },
}


class IncompatibleHost(FleetError):
    """Raised when Faust or aiokafka is not what the engine was made for.

    What to do: Install the versions that the message names.
    """

    def __init__(self, findings: Iterable[str]) -> None:
        tested = " ".join(f"{name}=={version}" for name, version in TESTED_VERSIONS.items())
        super().__init__(
            f"{'; '.join(findings)}: this version of Fleet overrides private names and was tested "
            f"with exactly {tested}; install these"
        )


class StreamNotCompiled(FleetError):
    """Raised when Faust would run its streams in plain Python.

    What to do: Unset `NO_CYTHON`, or install a wheel of faust-streaming.
    """

    def __init__(self) -> None:
        super().__init__(
            "Faust runs without its compiled stream, and the other one acknowledges records that "
            "it has not processed; unset NO_CYTHON, or install a wheel of faust-streaming, or a "
            "compiler for it"
        )


def check_host(overriding: Iterable[type]) -> None:
    """Raise IncompatibleHost or StreamNotCompiled if the engine cannot rely on the host.

    *overriding* are the classes that define hooks.
    """
    findings = [*_versions(), *_attributes(), *_methods(), *_hooks(overriding)]
    if not hasattr(faust.streams, "_CStreamIterator"):
        findings.append("faust.streams._CStreamIterator is missing")
    if findings:
        raise IncompatibleHost(findings)
    if vars(faust.streams)["_CStreamIterator"] is None:
        raise StreamNotCompiled


def _versions() -> Iterator[str]:
    for name, tested in TESTED_VERSIONS.items():
        found = metadata.version(name)
        if found != tested:
            yield f"{name} {found} is installed"


def _attributes() -> Iterator[str]:
    for owner, names in _ATTRIBUTES.items():
        known = _names(owner)
        for name in names:
            if name not in known:
                yield f"{owner.__name__}.{name} is missing"


def _names(owner: type) -> set[str]:
    """Return the attributes of a class and of its instances, which methods set."""
    names: set[str] = set()
    for kind in inspect.getmro(owner):
        names |= vars(kind).keys() | inspect.get_annotations(kind).keys()
        for member in vars(kind).values():
            if isinstance(member, types.FunctionType):
                names |= _set_in(member)
    return names


def _set_in(method: types.FunctionType) -> set[str]:
    return {step.argval for step in dis.get_instructions(method) if step.opname == "STORE_ATTR"}


def _methods() -> Iterator[str]:
    for owner, methods in _METHODS.items():
        for name, expected in methods.items():
            yield from _differs(owner.__name__, name, getattr(owner, name, None), expected)


def _hooks(overriding: Iterable[type]) -> Iterator[str]:
    for owner in overriding:
        for name in hooks_of(owner):
            theirs = getattr(super(owner, owner), name, None)
            expected = tuple(inspect.signature(vars(owner)[name]).parameters)[1:]
            # Arguments that our method only passes on may be any.
            open_ended = "args" in expected
            yield from _differs(
                owner.__mro__[1].__name__, name, theirs, expected, open_ended=open_ended
            )


def _differs(
    owner: str, name: str, theirs: Any, expected: tuple[str, ...], *, open_ended: bool = False
) -> Iterator[str]:
    if theirs is None or getattr(theirs, "__isabstractmethod__", False):
        yield f"{owner}.{name} is missing"
        return
    found = tuple(one for one in inspect.signature(theirs).parameters if one != "self")
    if open_ended:
        expected = expected[: expected.index("args")]
        found = found[: len(expected)]
    if found != expected:
        yield f"{owner}.{name} takes ({', '.join(found)}) and not ({', '.join(expected)})"
