"""The embedded broker itself: started, found, stopped, killed, purged."""

import json
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from click.testing import CliRunner, Result

from fleet.cli import dev
from fleet.dev import kafka, ports
from fleet.dev.kafka import Broker, LocalBroker, node, probe

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def local() -> Iterator[LocalBroker]:
    """An embedded broker for tests that another one, given by address, would not do for."""
    with kafka.embedded() as broker:
        yield broker


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a broker, with a name that takes care; the broker ends with the test."""
    path = tmp_path / "José's data"
    yield path
    kafka.stop(path, purge=True)


def _dev(command: str, folder: Path, *arguments: str) -> Result:
    done = CliRunner().invoke(dev.dev, [command, "--folder", str(folder), *arguments])
    assert done.exception is None, done.exception
    return done


@asynccontextmanager
async def _admin(broker: Broker) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def _create_topic(broker: Broker, name: str) -> None:
    async with _admin(broker) as admin:
        await admin.create_topics([NewTopic(name, num_partitions=3, replication_factor=1)])


async def _topics(broker: Broker) -> list[str]:
    async with _admin(broker) as admin:
        return sorted(await admin.list_topics())


def test_up_status_logs_down_by_hand(folder: Path) -> None:
    """The commands print data on stdout and words on stderr, and `up` twice is `up` once."""
    first, second = _dev("up", folder), _dev("up", folder)
    shown = json.loads(_dev("status", folder, "-o", "json").stdout)
    assert first.stdout == second.stdout == shown["address"] + "\n"
    assert "Starting Apache Kafka" in first.stderr
    assert "Starting" not in second.stderr
    assert shown["running"] is True
    assert "Kafka Server started" in _dev("logs", folder, "-n", "500").stdout
    assert "Stopped" in _dev("down", folder).stderr
    assert kafka.status(folder) is None


def test_a_port_of_ones_own_is_told_as_the_setting_to_export(folder: Path) -> None:
    """Where the broker is not the one of FLEET_BROKER, `up` says how it becomes that."""
    port = ports.choose()
    done = _dev("up", folder, "--port", str(port))
    assert done.stdout == f"kafka://127.0.0.1:{port}\n"
    assert f"export FLEET_BROKER=kafka://127.0.0.1:{port}" in done.stderr


def test_two_starts_at_once_start_one_broker(folder: Path) -> None:
    """Whoever comes second waits, and gets the first one's broker."""
    port = ports.choose()
    with ThreadPoolExecutor(2) as pool:
        started = list(pool.map(lambda _: kafka.start(folder, port=port), range(2)))
    assert started[0] == started[1] == kafka.status(folder)


async def test_topics_outlive_stop_and_crash(folder: Path) -> None:
    """After a stop, and after a kill -9, the broker comes back on its port with its topics."""
    before = kafka.start(folder, port=ports.choose())
    await _create_topic(before, "kept")
    assert kafka.stop(folder)
    after_stop = kafka.start(folder)
    assert kafka.kill(folder)
    assert kafka.status(folder) is None
    after_crash = kafka.start(folder)
    assert await _topics(after_crash) == ["kept"]
    assert before.address == after_stop.address == after_crash.address
    assert len({before.pid, after_stop.pid, after_crash.pid}) == 3


def test_another_port_is_refused_while_it_runs(folder: Path) -> None:
    """Moving a running broker would cut off its clients, so that is left to `down`."""
    broker = kafka.start(folder, port=ports.choose())
    with pytest.raises(kafka.OtherPort, match=rf"{broker.bootstrap}.*fleet dev down"):
        kafka.start(folder, port=ports.choose())


def test_a_purge_ends_the_broker_and_its_data(folder: Path) -> None:
    """`down --purge --yes` leaves neither process nor folder."""
    broker = kafka.start(folder, port=ports.choose())
    _dev("down", folder, "--purge", "--yes")
    assert not folder.exists()
    assert probe.cluster_id(broker.port) is None


def test_a_start_that_fails_tells_kafkas_reason(folder: Path) -> None:
    """The sentence quotes the log, names the command that shows it all, and nothing runs on."""
    kafka.start(folder, port=ports.choose())
    kafka.stop(folder)
    meta = folder / "data" / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=2"))
    with pytest.raises(node.BrokerDied, match="Stored node id 2 doesn't match") as raised:
        kafka.start(folder)
    assert f"`fleet dev logs --folder {folder}`" in str(raised.value)
    assert kafka.find(folder) is None


def test_a_broker_of_another_folder_is_not_taken_for_ours(
    folder: Path, local: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that another Kafka took since we looked fails the start, though that one answers."""
    monkeypatch.setattr(ports, "is_free", lambda _: True)
    with pytest.raises(node.BrokerDied, match="Address already in use"):
        kafka.start(folder, port=local.port)


def test_an_embedded_broker_ends_with_its_block() -> None:
    """Also when the block fails; its temporary folder goes with it."""
    with pytest.raises(ZeroDivisionError), kafka.embedded() as broker:
        _failing_use(broker)
    assert kafka.find(broker.folder) is None
    assert not broker.folder.exists()


def _failing_use(broker: LocalBroker) -> NoReturn:
    assert kafka.status(broker.folder) == broker
    raise ZeroDivisionError


def test_an_embedded_broker_leaves_running_what_ran_before(folder: Path) -> None:
    """Whoever started a broker is the one to stop it."""
    before = kafka.start(folder, port=ports.choose())
    with kafka.embedded(folder) as used:
        assert used == before
    assert kafka.status(folder) == before


def test_it_listens_on_one_loopback_address(local: LocalBroker) -> None:
    """A laptop's broker has no password, so nobody else's machine may reach it."""
    with socket.socket() as other, pytest.raises(OSError, match=r"refused|assign"):
        other.connect(("127.0.0.2", local.port))


async def test_it_carries_transactions(kafka_broker: Broker) -> None:
    """One node is enough for what Fleet commits: a read_committed reader sees it, and once."""
    topic = f"transactions-{uuid.uuid4()}"
    await _create_topic(kafka_broker, topic)
    partition = TopicPartition(topic, 0)
    bootstrap = kafka_broker.bootstrap
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=topic) as producer:
        async with producer.transaction():
            await producer.send_and_wait(topic, b"committed", partition=0)
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"aborted", partition=0)
        await producer.abort_transaction()
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        group_id=None,
    ) as reader:
        reader.assign([partition])
        assert (await reader.getone()).value == b"committed"
        # The two control records and the aborted one are passed over.
        end = (await reader.end_offsets([partition]))[partition]
        assert end == 4
        assert await reader.getmany(timeout_ms=500) == {}


async def test_a_missing_topic_is_not_made_up(local: LocalBroker) -> None:
    """A topic comes into being with its settings or not at all."""
    async with _admin(local) as admin:
        described = await admin.describe_topics(["nobody.made.this"])
    unknown_topic_or_partition = 3
    assert described[0]["error_code"] == unknown_topic_or_partition
