"""What the annotations of resources say, and what is wrong with them before anything runs."""

# Wrong factories are what is tested here, and most bodies never run.
# mypy: disable-error-code="no-untyped-def, empty-body"

import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

import pytest
from pydantic import BaseModel

from fleet import (
    FleetError,
    Resource,
    ResourceConfig,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowConfigurationError,
    WorkflowValidationError,
    step,
)
from fleet.workflow import signature
from fleet.workflow.errors import Unresolved
from fleet.workflow.resources.providers import Provider

if TYPE_CHECKING:
    from collections import OrderedDict


class Limits(BaseModel):
    most: int = 3


def get_url(host: str = "localhost") -> str:
    return f"http://{host}"


async def get_db(url: Annotated[str, Resource(get_url)], retries: int = 3, **_: Any) -> str:
    return f"db of {url}"


def provider(annotated: Any, **names: Any) -> Provider:
    """Return who makes the resource of a step that has one parameter that is *annotated* so."""

    @step
    async def work(self, ev: StartEvent, given) -> StopEvent: ...

    work.__annotations__["given"] = annotated
    ((parameter, found),) = signature.read(work, "work", names).resources
    assert parameter == "given"
    return found


def finding(factory: Callable[..., Any]) -> str:
    """Return what is wrong with a factory."""
    with pytest.raises(WorkflowValidationError) as caught:
        provider(Annotated[Any, Resource(factory)])
    return caught.value.findings[0]


def test_a_resource_is_no_event_and_its_factory_says_what_it_needs() -> None:
    found = provider(Annotated[str, Resource(get_db)])

    assert (found.name, found.is_cached) == ("get_db", True)
    assert [(name, need.name) for name, need in found.needs] == [("url", "get_url")]


def test_a_step_may_take_nothing_but_a_resource_beside_its_event() -> None:
    """Its position does not matter, and a default does not make it an argument of yours."""

    @step
    async def work(
        self, db: Annotated[str, Resource(get_db)], ev: StartEvent, url: str = "unset"
    ) -> StopEvent: ...

    read = signature.read(work, "work", {})
    assert [slot.parameter for slot in read.slots] == ["ev"]
    assert [name for name, _ in read.resources] == ["db"]


class Client:
    """A class is a factory, too."""

    def __init__(self, url: Annotated[str, Resource(get_url)]) -> None:
        self.url = url

    def __call__(self, url: Annotated[str, Resource(get_url)]) -> str:
        return url

    def search(self, url: Annotated[str, Resource(get_url)]) -> str:
        return url


@dataclass
class Pair:
    url: Annotated[str, Resource(get_url)]
    size: int = 2


@pytest.mark.parametrize(
    ("factory", "name"),
    [
        (Client, "Client"),
        (Pair, "Pair"),
        (Client("x"), "Client"),
        (Client("x").search, "Client.search"),
        (functools.partial(get_db, retries=5), "get_db"),
    ],
    ids=["a class", "a dataclass", "an object", "a method", "a partial"],
)
def test_whatever_can_be_called_is_a_factory(factory: Any, name: str) -> None:
    found = provider(Annotated[Any, Resource(factory)])

    assert (found.name, [name for name, _ in found.needs]) == (name, ["url"])


def test_a_factory_may_not_say_what_it_takes() -> None:
    """As `dict`, which is written in C."""
    assert provider(Annotated[Any, Resource(dict)]).needs == ()


def test_one_factory_is_one_resource_and_two_of_one_name_are_two() -> None:
    """Also a bound method, which is a new object at each look."""
    client = Client("x")
    first, second = (provider(Annotated[Any, Resource(client.search)]).key for _ in range(2))
    assert first == second
    one, two = (provider(Annotated[Any, Resource(lambda: 1)]).key for _ in range(2))
    assert one != two
    kept, own = (provider(Annotated[Any, Resource(get_url, cache)]).key for cache in (True, False))
    assert kept != own


def test_a_return_type_may_be_there_for_type_checkers_only() -> None:
    def get_order(url: Annotated[str, Resource(get_url)]) -> "OrderedDict[str, str]": ...

    assert [name for name, _ in provider(Annotated[Any, Resource(get_order)]).needs] == ["url"]


def test_annotations_that_are_text_name_local_factories() -> None:
    """As in a module with `from __future__ import annotations`."""

    def get_local() -> str:
        return "local"

    def get_index(url: "Annotated[str, Resource(get_local)]") -> str:
        return url

    class Flow(Workflow):
        @step
        async def work(
            self, ev: StartEvent, index: "Annotated[str, Resource(get_index)]"
        ) -> StopEvent: ...

    found = dict(signature.read(Flow.work, "work", Flow._fleet_namespace).resources)
    assert found["index"].make is get_index
    assert dict(found["index"].needs)["url"].make is get_local
    assert not {"self", "pytest"} & Flow._fleet_namespace.keys()


def one(two: "Annotated[str, Resource(two)]") -> str: ...
def two(three: "Annotated[str, Resource(three, cache=False)]") -> str: ...
def three(one: "Annotated[str, Resource(one)]") -> str: ...


def test_a_cycle_is_refused_in_the_class_statement() -> None:
    """With the whole way, before any factory is called."""
    said = r"parameter it of step work: its resources need each other: one -> two -> three -> one;"
    with pytest.raises(WorkflowValidationError, match=said):

        class Flow(Workflow):
            @step
            async def work(
                self, ev: StartEvent, it: Annotated[str, Resource(one)]
            ) -> StopEvent: ...


def test_a_factory_that_two_need_is_no_cycle() -> None:
    def both(a: Annotated[str, Resource(get_url)], b: Annotated[str, Resource(get_db)]) -> str: ...

    assert len(provider(Annotated[Any, Resource(both)]).needs) == 2


def lacks(url) -> str: ...
def asks(client: Annotated[str, Resource(lacks)]) -> str: ...
def by_place(url: Annotated[str, Resource(get_url)], /) -> str: ...


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (
            asks,
            "parameter given of step work: the factory asks -> lacks takes url, which nothi",
        ),
        (by_place, "the factory by_place takes url, which nothing gives"),
        (functools.partial(lacks), "the factory lacks takes url, which nothing gives; make it a r"),
    ],
    ids=["no annotation", "by position", "a partial"],
)
def test_a_factory_whose_parameter_nothing_gives_is_refused(factory: Any, said: str) -> None:
    assert said in finding(factory)


def test_an_unknown_name_waits_for_the_first_use() -> None:
    """As with events, because it may be defined after the class."""

    def get_later(url: "Annotated[Later, Resource(get_url)]") -> str: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(Unresolved, match="annotation of url of the factory get_later cannot be r"):
        provider(Annotated[Any, Resource(get_later)])

    class Flow(Workflow):
        @step
        async def work(
            self, ev: StartEvent, it: Annotated[str, Resource(get_later)]
        ) -> StopEvent: ...

    with pytest.raises(WorkflowValidationError, match="get_later cannot be resolved"):
        Flow()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: Resource(cast("Any", "x")),
            "takes the function .*, not str: write e.g.",
        ),
        (lambda: ResourceConfig("limits.yaml"), r"reads a JSON file, \*.json, not 'limits.yaml'"),
    ],
    ids=["no function", "no JSON"],
)
def test_a_wrong_argument_is_refused(make: Callable[[], object], said: str) -> None:
    """The reference raises a ValueError there, too."""
    with pytest.raises(WorkflowConfigurationError, match=said) as caught:
        make()
    assert isinstance(caught.value, (ValueError, FleetError))


def test_a_config_is_a_model() -> None:
    with pytest.raises(WorkflowValidationError, match="gives a pydantic model, not dict; write"):
        provider(Annotated[dict, ResourceConfig("limits.json")])
    found = provider(Annotated[Limits, ResourceConfig("limits.json", "a.b")])
    assert (found.name, found.is_cached) == ("limits.json at a.b", True)


def test_a_factory_that_yields_is_not_called_to_be_read() -> None:
    async def get_client(url: Annotated[str, Resource(get_url)]) -> AsyncIterator[str]:
        raise NotImplementedError
        yield url

    assert provider(Annotated[Any, Resource(get_client)]).name == "get_client"
