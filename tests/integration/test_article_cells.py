"""The article's cells, as scripts on a real broker."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from article_cells import CELLS
from workers import SUPPORT

from fleet.dev.kafka import Broker

pytestmark = pytest.mark.kafka

PIRATES = "[Write your best joke about pirates.]"


def run_cell(broker: Broker, cell: str, folder: Path) -> Any:
    name = f"cell{uuid4().hex[:8]}"
    done = subprocess.run(
        [sys.executable, SUPPORT / "article_cells.py", cell, broker.address, name, folder],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return json.loads(done.stdout)


EXPECTED = {
    "class_style": {
        "result": f"[Give a thorough analysis and critique of the following joke: {PIRATES}]"
    },
    "channels": {
        "results": [
            f"[Give a critique of the joke: [Write your best joke about {topic}.]]"
            for topic in ("cats", "dogs", "pirates")
        ]
    },
    "agents_as_sinks": {
        "results": [
            "[Give a critique of the joke: [Write your best joke about cats.]]",
            f"[Give a critique of the joke: {PIRATES}]",
            "[Give a critique of the joke: asked]",
        ],
        "answer": "[Give a critique of the joke: asked]",
    },
    "context_in_records": {
        "topic": "pirates",
        "joke": "[A joke about pirates]",
        "critique": "[Critique [A joke about pirates]]",
    },
    "context_in_a_table": {
        "topic": "pirates",
        "critique": "[Critique [A joke about pirates] about pirates]",
    },
    "join": {
        "pairs": [[f"k{number}", f"apple {number}", f"orange {number}"] for number in range(9)],
        "left": [["k9"], []],
    },
    "faust_workflow": {
        "result": f"[Critique the joke: {PIRATES}]",
        "type": "CritiqueEvent",
    },
    "drawing": {"names": ["generate_joke", "JokeEvent"]},
}


def test_every_cell_has_an_expectation() -> None:
    """No cell is there without being run."""
    assert set(CELLS) == set(EXPECTED)


@pytest.mark.parametrize("cell", EXPECTED)
async def test_a_cell_gives_what_the_article_shows(
    kafka_broker: Broker, tmp_path: Path, cell: str
) -> None:
    """The cell's code runs as it stands, and its script ends by itself."""
    shown = await asyncio.to_thread(run_cell, kafka_broker, cell, tmp_path)

    assert shown == EXPECTED[cell]
