"""The joke flow by hand on aiokafka, a task per message, without state: what nobody undercuts."""

import asyncio
import json
import os
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks import answers, bound, topics

PREFIX = os.environ["BENCH_PREFIX"]
BOOTSTRAP = os.environ["BENCH_BOOTSTRAP"]
SECONDS = float(os.environ["BENCH_STEP_SECONDS"])


async def work(producer: AIOKafkaProducer, record: Any) -> None:
    """Do the step that a record asks for and send what it made."""
    event = json.loads(record.value)
    await asyncio.sleep(SECONDS)
    if record.topic.endswith(topics.START):
        name, made = topics.JOKE, {"joke": answers.joke(event["topic"])}
    else:
        name, made = topics.DONE, {"verdict": answers.verdict(event["joke"])}
    await producer.send(f"{PREFIX}.{name}", json.dumps(made).encode(), key=record.key)


async def main() -> None:
    """Serve until the end."""
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP)
    consumer = AIOKafkaConsumer(
        f"{PREFIX}.{topics.START}",
        f"{PREFIX}.{topics.JOKE}",
        bootstrap_servers=BOOTSTRAP,
        group_id=PREFIX,
        auto_offset_reset="earliest",
    )
    await asyncio.gather(producer.start(), consumer.start())
    tasks = set()
    while True:
        for records in (await consumer.getmany(timeout_ms=1_000)).values():
            for record in records:
                task = asyncio.create_task(work(producer, record))
                tasks.add(task)
                task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    bound.begin()
    asyncio.run(main())
