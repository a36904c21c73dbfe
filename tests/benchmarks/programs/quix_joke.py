# mypy: disable-error-code="import-not-found, misc, untyped-decorator"
# It is checked also where the package is not installed.
"""The joke flow on Quix Streams, which is synchronous: a step holds its thread."""

import os
import time
from typing import Any

from quixstreams import Application

from benchmarks import answers, bound, topics

PREFIX = os.environ["BENCH_PREFIX"]
SECONDS = float(os.environ["BENCH_STEP_SECONDS"])


def tell(event: dict[str, str]) -> dict[str, str]:
    """Make a joke."""
    if SECONDS:
        time.sleep(SECONDS)
    return {"joke": answers.joke(event["topic"])}


def judge(event: dict[str, str]) -> dict[str, str]:
    """Make a verdict."""
    if SECONDS:
        time.sleep(SECONDS)
    return {"verdict": answers.verdict(event["joke"])}


def main() -> None:
    """Serve until SIGTERM."""
    app: Any = Application(
        broker_address=os.environ["BENCH_BOOTSTRAP"],
        consumer_group=PREFIX,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        state_dir=os.environ["BENCH_FOLDER"],
    )

    def topic(name: str) -> Any:
        return app.topic(f"{PREFIX}.{name}", key_deserializer="bytes", key_serializer="bytes")

    jokes = topic(topics.JOKE)
    app.dataframe(topic(topics.START)).apply(tell).to_topic(jokes)
    app.dataframe(jokes).apply(judge).to_topic(topic(topics.DONE))
    app.run()


if __name__ == "__main__":
    bound.begin()
    main()
