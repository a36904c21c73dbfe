"""A reader of topics that imports nothing of ours: what is on the broker, as anybody sees it."""

from aiokafka import AIOKafkaConsumer, ConsumerRecord


async def read(
    bootstrap: str, topic: str, *, isolation: str = "read_committed"
) -> list[ConsumerRecord[bytes, bytes]]:
    """Return every record of *topic* that is there now."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, isolation_level=isolation, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        # Without a group it has every partition of the topic.
        tps = sorted(consumer.assignment())
        ends = await consumer.end_offsets(tps)
        found = []
        for tp in tps:
            await consumer.seek_to_beginning(tp)
            while await consumer.position(tp) < ends[tp]:
                found += (await consumer.getmany(tp, timeout_ms=200)).get(tp, [])
        return found
    finally:
        await consumer.stop()


def run_id(record: ConsumerRecord[bytes, bytes]) -> str:
    """Return the record's key as text."""
    return (record.key or b"").decode()


def header(record: ConsumerRecord[bytes, bytes], name: str) -> str:
    """Return one header's text."""
    return dict(record.headers)[name].decode()
