"""Fleet whose steps call a model: one worker process, the scripted model in another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from benchmarks import load, processes, prompts
from benchmarks.contenders import fleet_worker
from benchmarks.llm_flow import LlmFlow, StartEvent
from benchmarks.scene import Line, Scene
from fleet import connect

ABOUT = "one Fleet worker whose steps call the scripted model by `LLM`, the real openai client"
WORKLOADS = ("llm",)


def missing() -> str:
    """Nothing is."""
    return ""


@asynccontextmanager
async def model(scene: Scene) -> AsyncIterator[str]:
    """The scripted model for the time of a block; gives its address."""
    told = scene.folder / "llm.url"
    async with processes.program(scene, "benchmarks.programs.scripted_llm"):
        async with asyncio.timeout(load.READY_SECONDS):
            while not told.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.05)
        yield told.read_text()


@asynccontextmanager
async def serving(scene: Scene) -> AsyncIterator[Line]:
    """A worker and a model for the time of a block."""
    async with model(scene) as address:
        variables = {"OPENAI_BASE_URL": address, "OPENAI_API_KEY": "scripted"}
        worker = fleet_worker.start(
            replace(scene, variables={**scene.variables, **variables}),
            module="benchmarks.programs.fleet_llm",
        )
        try:
            settings = fleet_worker.settings(scene)
            async with connect(
                LlmFlow, settings=settings, timeout=fleet_worker.CALL_SECONDS
            ) as flow:

                async def run(topic: str) -> str:
                    said = await flow.run(StartEvent(topic=prompts.subject(topic)))
                    return prompts.checked(topic, said)

                yield Line(run, (worker.process.pid,))
        finally:
            worker.stop()
