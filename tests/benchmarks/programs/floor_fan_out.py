"""The fan-out by hand on aiokafka, a task per message; the join is a list in memory."""

import asyncio
import json
import os
from collections import defaultdict
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks import bound, fan_out, topics

PREFIX = os.environ["BENCH_PREFIX"]
BOOTSTRAP = os.environ["BENCH_BOOTSTRAP"]
SECONDS = float(os.environ["BENCH_STEP_SECONDS"])
BRANCHES = fan_out.branches()


class Worker:
    """Takes starts, parts and what came of parts."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        #: By run id.
        self._found: dict[bytes, list[str]] = defaultdict(list)

    async def work(self, record: Any) -> None:
        """Do the step that a record asks for and send what it made."""
        event = json.loads(record.value)
        topic = event["topic"]
        if record.topic.endswith(topics.START):
            for part in fan_out.parts(topic, BRANCHES):
                await self._send(topics.PART, record.key, topic=topic, part=part)
        elif record.topic.endswith(topics.PART):
            await asyncio.sleep(SECONDS)
            done = fan_out.worked(event["part"])
            await self._send(topics.WORKED, record.key, topic=topic, done=done)
        else:
            await self._join(record.key, topic, event["done"])

    async def _join(self, run_id: bytes, topic: str, done: str) -> None:
        self._found[run_id].append(done)
        if len(self._found[run_id]) == fan_out.count(topic, BRANCHES):
            verdict = fan_out.verdict(topic, self._found.pop(run_id), BRANCHES)
            await self._send(topics.DONE, run_id, verdict=verdict)

    async def _send(self, name: str, run_id: bytes, **fields: str) -> None:
        await self._producer.send(f"{PREFIX}.{name}", json.dumps(fields).encode(), key=run_id)


async def main() -> None:
    """Serve until the end."""
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP)
    consumer = AIOKafkaConsumer(
        *(f"{PREFIX}.{name}" for name in topics.FAN_OUT[:-1]),
        bootstrap_servers=BOOTSTRAP,
        group_id=PREFIX,
        auto_offset_reset="earliest",
    )
    await asyncio.gather(producer.start(), consumer.start())
    worker, tasks = Worker(producer), set()
    while True:
        for records in (await consumer.getmany(timeout_ms=1_000)).values():
            for record in records:
                task = asyncio.create_task(worker.work(record))
                tasks.add(task)
                task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    bound.begin()
    asyncio.run(main())
