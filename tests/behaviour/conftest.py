"""The runtimes of the suite, and one event loop and one Faust app for all of it."""

import inspect
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import faust
import pytest
import pytest_asyncio

from behaviour import library, runtimes
from behaviour.library import FLEET, REFERENCE
from behaviour.runtimes import Runtime
from fleet import Workflow
from fleet.config import settings
from fleet.dev.kafka import Broker
from fleet.kafka import provision
from fleet.records.topics import Topics
from fleet.workflow.definition import graph

HERE = Path(__file__).parent
NOT_INSTALLED = "llama-index-workflows is not installed"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of this folder one event loop: a Faust app lives on one."""
    for item in items:
        if not isinstance(item, pytest.Function) or HERE not in item.path.parents:
            continue
        if inspect.iscoroutinefunction(item.function):
            item.add_marker(pytest.mark.asyncio(loop_scope="package"), append=False)


class Carried:
    """All workflows of the suite on one Faust app, each made once."""

    def __init__(self, app: Any) -> None:
        self._app = app
        #: By class: the workflow, or why there is none.
        self._made: dict[type[Any], Any] = {}
        for name in [*_names("scenarios"), *_names("examples")]:
            self._add(name)

    def _add(self, name: str) -> None:
        try:
            module = library.module(name, FLEET)
        except Exception:  # noqa: BLE001 - the module's own tests show it
            return
        for flow, found in runtimes.flows(module).items():
            try:
                made = found(app=self._app, **runtimes.options(module, flow))
            except Exception as refused:  # noqa: BLE001 - as above
                made = refused
            self._made[found] = made

    async def create_topics(self, address: str) -> None:
        """Create all topics at once: each workflow for itself would ask about those of all."""
        chosen = settings.current().model_copy(update={"broker": address})
        topics = [
            topic
            for flow in self._made.values()
            if isinstance(flow, Workflow)
            for topic in provision.wanted(self._topics(flow), graph(type(flow)), chosen)
        ]
        await provision.apply(provision.Plan(tuple(topics), {}, chosen.partitions), chosen)

    def _topics(self, flow: Workflow) -> Topics:
        return Topics(f"embedded.{self._app.conf.id}", flow.workflow_name, flow.group_name)

    def __call__(self, flow: type[Any], _options: dict[str, Any]) -> Any:
        """Return the workflow of a class, or raise what its constructor raised."""
        made = self._made[flow]
        if isinstance(made, Exception):
            raise made
        return made


def _names(folder: str) -> list[str]:
    found = runtimes.SCENARIOS if folder == "scenarios" else runtimes.EXAMPLES
    return [f"{folder}.{name}" for name in found]


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def carried(
    kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Carried]:
    """The app, which the first run starts; it ends before the broker does."""
    folder = tmp_path_factory.mktemp("behaviour")
    name = f"behaviour{uuid4().hex[:8]}"
    app = faust.App(name, broker=kafka_broker.address, datadir=str(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEET_PARTITIONS", "1")
        settings.current.cache_clear()
        carried = Carried(app)
        await carried.create_topics(kafka_broker.address)
        # The app starts with its first run: no test's patience is for that.
        await carried(library.module("scenarios.ends", FLEET).PlainResult, {}).run(timeout=100)
        yield carried
    settings.current.cache_clear()
    await app.stop()


@pytest.fixture(params=[REFERENCE, "memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """Each runtime in turn."""
    if request.param == REFERENCE and not library.is_installed():
        pytest.skip(NOT_INSTALLED)
    make: Callable[..., Any] = _in_process
    if request.param == "kafka":
        make = request.getfixturevalue("carried")
    return Runtime(request.param, make)


@pytest.fixture(params=[REFERENCE, FLEET])
def lib(request: pytest.FixtureRequest) -> str:
    """Each library in turn, for what needs no run."""
    if request.param == REFERENCE and not library.is_installed():
        pytest.skip(NOT_INSTALLED)
    name: str = request.param
    return name


def _in_process(flow: type[Any], options: dict[str, Any]) -> Any:
    return flow(**options)
