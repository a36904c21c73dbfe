"""A record is where its run is, or belongs to no run."""

import pytest

from fleet.records.envelope import Envelope
from fleet.records.lifecycle import Cancelled, Started
from fleet.records.log import Delivered
from fleet.records.partitions import misplaced, partition_of

RUN = "run-7"
OWN = partition_of(RUN, 8)


def _record(partition: int, key: bytes | None = RUN.encode()) -> Delivered:
    return Delivered("t.StartEvent", partition, 0, 0, key, b"{}", [])


def _envelope(kind: str = "StartEvent", parent_id: str = "") -> Envelope:
    return Envelope(run_id=RUN, event_id="e", type=kind, parent_id=parent_id)


def test_the_hash_is_that_of_the_java_client() -> None:
    """What `kafka-console-producer` chooses for these keys: murmur2 of the key, positive."""
    assert [partition_of(each, 8) for each in ("21", "foobar", "a-little-bit-long-string")] == [
        _java(each) % 8 for each in (-973932308, -790332482, -985981536)
    ]


def _java(murmur2: int) -> int:
    return murmur2 & 0x7FFFFFFF


def test_a_record_in_its_runs_partition_is_taken() -> None:
    """Nothing is wrong with it."""
    assert misplaced(_record(OWN), _envelope(), 8) == ""


@pytest.mark.parametrize("kind", ["StartEvent", Cancelled.kind])
def test_a_record_from_outside_in_another_partition_says_where_its_run_is(kind: str) -> None:
    """Both partitions, and the setting of the client that wrote it."""
    found = misplaced(_record((OWN + 1) % 8), _envelope(kind), 8)
    assert f"in partition {(OWN + 1) % 8}, and its run in partition {OWN}" in found
    assert "murmur2_random" in found


@pytest.mark.parametrize("envelope", [_envelope(parent_id="p"), _envelope(Started.kind)])
def test_what_a_task_wrote_is_not_asked(envelope: Envelope) -> None:
    """It is where its task is; the hash is not computed for it."""
    assert misplaced(_record((OWN + 1) % 8), envelope, 8) == ""


@pytest.mark.parametrize("key", [None, b"another", b""])
def test_a_key_that_is_not_the_run_is_said(key: bytes | None) -> None:
    """In whatever partition it is."""
    assert misplaced(_record(OWN, key), _envelope(), 8) == "the record's key is not its run id"
