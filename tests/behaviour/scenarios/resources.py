"""Resources that steps take: who makes them, how often, and what they need."""

import json
import tempfile
from itertools import count
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel

from fleet import Event, Resource, ResourceConfig, StartEvent, StopEvent, Workflow, step

#: How often each factory was called, by name.
calls: dict[str, "count[int]"] = {}


def call(name: str) -> int:
    """Return how often the factory was called before."""
    return next(calls.setdefault(name, count()))


class A(Event):
    found: str


class B(Event):
    found: list[str]


class Memory:
    """What steps share."""

    def __init__(self, name: str) -> None:
        self.texts: list[str] = []
        self.name = name


def get_memory(**_: str) -> Memory:
    return Memory(f"memory {call('get_memory')}")


async def get_async_memory() -> Memory:
    return Memory(f"async memory {call('get_async_memory')}")


class SharedResource(Workflow):
    """Two steps take the same."""

    @step
    async def begin(self, ev: StartEvent, memory: Annotated[Memory, Resource(get_memory)]) -> A:
        memory.texts = ["begun"]
        return A(found=memory.name)

    @step
    def end(self, ev: A, memory: Annotated[Memory, Resource(get_memory)]) -> StopEvent:
        return StopEvent(result=[*memory.texts, memory.name == ev.found])


class AsyncResource(Workflow):
    """A coroutine function makes it, once for all runs of an object."""

    @step
    async def begin(
        self, ev: StartEvent, memory: Annotated[Memory, Resource(get_async_memory)]
    ) -> StopEvent:
        return StopEvent(result=memory.name)


def get_fresh() -> str:
    return f"fresh {call('get_fresh')}"


class FreshResource(Workflow):
    """Each attempt has its own."""

    @step
    async def begin(
        self, ev: StartEvent, it: Annotated[str, Resource(get_fresh, cache=False)]
    ) -> A:
        return A(found=it)

    @step
    async def end(self, ev: A, it: Annotated[str, Resource(get_fresh, cache=False)]) -> StopEvent:
        return StopEvent(result=it != ev.found)


def get_url() -> str:
    return "http://here"


async def get_client(url: Annotated[str, Resource(get_url)]) -> str:
    return f"client of {url}"


def get_index(
    client: Annotated[str, Resource(get_client)], url: Annotated[str, Resource(get_url)]
) -> str:
    return f"index at {client} and {url}"


class NestedResource(Workflow):
    """A factory needs what others make."""

    @step
    async def begin(self, ev: StartEvent, index: Annotated[str, Resource(get_index)]) -> StopEvent:
        return StopEvent(result=index)


def get_pair(
    one: Annotated[str, Resource(get_fresh, cache=False)],
) -> list[str]:
    return [one]


class OneResourceEach(Workflow):
    """An attempt has one of each, however many ask for it."""

    @step
    async def begin(
        self,
        ev: StartEvent,
        pair: Annotated[list[str], Resource(get_pair, cache=False)],
        it: Annotated[str, Resource(get_fresh, cache=False)],
    ) -> StopEvent:
        return StopEvent(result=pair == [it])


def get_broken() -> str:
    raise LookupError("no such index")


class BrokenResource(Workflow):
    """A factory raises."""

    @step
    async def begin(self, ev: StartEvent, it: Annotated[str, Resource(get_broken)]) -> StopEvent:
        return StopEvent(result=it)


FOLDER = Path(tempfile.mkdtemp(prefix="behaviour"))
FILE = FOLDER / "config.json"
FILE.write_text(json.dumps({"categories": ["a"], "search": {"limits": {"categories": ["b"]}}}))


class Config(BaseModel):
    """What the file says."""

    categories: list[str]


def get_labels(
    config: Annotated[Config, ResourceConfig(str(FILE), path_selector="search.limits")],
) -> list[str]:
    return [name.upper() for name in config.categories]


class ConfiguredByFile(Workflow):
    """A file, a part of it, and a factory that needs one."""

    @step
    async def begin(
        self,
        ev: StartEvent,
        whole: Annotated[Config, ResourceConfig(config_file=str(FILE), label="Categories")],
        part: Annotated[Config, ResourceConfig(str(FILE), "search.limits")],
        labels: Annotated[list[str], Resource(get_labels)],
    ) -> StopEvent:
        return StopEvent(result=[whole.categories, part.categories, labels])


#: A test writes it.
LATER = FOLDER / "later.json"


class FileComesLater(Workflow):
    """Its file is not there yet."""

    @step
    async def begin(
        self, ev: StartEvent, config: Annotated[Config, ResourceConfig(str(LATER))]
    ) -> StopEvent:
        return StopEvent(result=config.categories)
