"""The example notebook, executed in a real kernel against a real broker."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import nbformat
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell

from fleet.dev.kafka import Broker

pytestmark = pytest.mark.kafka

NOTEBOOK = Path(__file__).parents[2] / "docs" / "examples" / "embedded.ipynb"


class Kernel:
    """A kernel that has the notebook open."""

    def __init__(self, client: NotebookClient) -> None:
        self._client = client

    async def execute_all(self) -> list[str]:
        """Run all cells; return what the last lines of those gave that gave something."""
        cells = enumerate(self._client.nb.cells)
        found = [await self._execute(cell, index) for index, cell in cells]
        return [text for text in found if text]

    async def execute(self, source: str) -> str:
        """Run a new cell; return what its last line gave."""
        self._client.nb.cells.append(new_code_cell(source))  # type: ignore[no-untyped-call]
        return await self._execute(self._client.nb.cells[-1], len(self._client.nb.cells) - 1)

    async def _execute(self, cell: Any, index: int) -> str:
        done = await self._client.async_execute_cell(cell, index)
        shown = [each["data"]["text/plain"] for each in done.get("outputs", ()) if "data" in each]
        return "".join(shown)


@asynccontextmanager
async def kernel(broker: Broker, app: str, folder: Path) -> AsyncIterator[Kernel]:
    text = NOTEBOOK.read_text().replace("joke-notebook", app)
    notebook = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(notebook, timeout=90)
    environment = os.environ | {"FLEET_BROKER": broker.address, "IPYTHONDIR": str(folder)}
    async with client.async_setup_kernel(cwd=str(folder), env=environment):
        yield Kernel(client)


async def members(broker: Broker, group: str) -> int:
    """Return how many consumers the group has."""
    client = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await client.start()
    try:
        (answer,) = await client.describe_consumer_groups([group])
        (described,) = answer.to_object()["groups"]
        return len(described["members"])
    finally:
        await client.close()


RESULTS = ["'good: a joke about pirates'", "['good: a joke about cats', 'good: a joke about dogs']"]


async def test_a_notebook_runs_a_workflow_several_times(
    kafka_broker: Broker, tmp_path: Path
) -> None:
    """The started app serves all runs; it leaves its group with the kernel, which ends by itself.

    A kernel that does not end is killed: then what is to be done at its end is not done.
    """
    app = f"nb{uuid4().hex[:8]}"
    ended = tmp_path / "ended"
    for _ in range(2):
        async with kernel(kafka_broker, app, tmp_path) as notebook:
            assert await notebook.execute_all() == RESULTS
            again = await notebook.execute(f"import atexit, pathlib\n{AT_EXIT.format(ended)}")
            assert again == "'good: a joke about owls'"
            assert await members(kafka_broker, app) == 1
        assert await members(kafka_broker, app) == 0
        ended.unlink()


#: A cell that makes the workflow was run again, as happens in notebooks.
AT_EXIT = """
atexit.register(pathlib.Path("{}").touch)
await JokeFlow(app=app, timeout=30).run(topic="owls")
"""


async def test_what_a_started_app_cannot_do_is_said(kafka_broker: Broker, tmp_path: Path) -> None:
    """Neither take up a changed class, nor another workflow, nor run after its end."""
    async with kernel(kafka_broker, f"nb{uuid4().hex[:8]}", tmp_path) as notebook:
        await notebook.execute_all()
        for source, reason in CANNOT.items():
            with pytest.raises(CellExecutionError, match=reason):
                await notebook.execute(source)


CANNOT = {
    "class JokeFlow(JokeFlow): pass\nJokeFlow(app=app)": "carries a workflow joke of another class",
    "class Cats(JokeFlow): pass\nCats(app=app)": "it has started already",
    "flow.run_sync(topic='cats')": "write `await JokeFlow",
    "await app.stop()\nawait flow.run(topic='cats')": "was stopped, and an app runs once",
}
