"""
The workflows of docs/examples on a real broker, carried by one app, with a scripted model.

Each is the file as it stands. The router needs answers of a certain kind, so its model is a fake;
the others call the scripted server.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import faust
import pytest
import pytest_asyncio

from fleet import Workflow
from fleet.config import settings
from fleet.dev.kafka import Broker
from fleet.dev.llm import ScriptedLLM
from fleet.testing import FakeLLM

# One app for the module, and an app lives on one event loop.
pytestmark = [pytest.mark.kafka, pytest.mark.asyncio(loop_scope="module")]

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def example(name: str) -> Any:
    return importlib.import_module(name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def flows(
    kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Workflow]]:
    """The workflows of the examples by class, on one app; the first run starts it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEET_PARTITIONS", "2")
        patch.syspath_prepend(EXAMPLES)
        settings.current.cache_clear()
        folder = str(tmp_path_factory.mktemp("examples"))
        app = faust.App(f"examples{uuid4().hex[:8]}", broker=kafka_broker.address, datadir=folder)
        classes = [example("router").Desk, example("retrieval").Ask, example("map_reduce").Digest]
        yield {made.__name__: made(app=app, timeout=60) for made in classes}
        await app.stop()
    settings.current.cache_clear()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scripted() -> AsyncIterator[ScriptedLLM]:
    """One server for the module: a client keeps the address of its first call."""
    async with ScriptedLLM() as scripted:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OPENAI_BASE_URL", scripted.base_url)
            yield scripted


@pytest.fixture
def model(scripted: ScriptedLLM) -> ScriptedLLM:
    """The scripted server, which says each prompt again and has counted nothing yet."""
    scripted.counts.reset()
    return scripted


async def test_a_simple_question_is_answered_at_once(
    flows: dict[str, Workflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = FakeLLM({"simple or hard": ["Simple."], "one sentence": ["Tea is 2 EUR."]})
    monkeypatch.setattr(flows["Desk"], "llm", model, raising=False)

    answer = await flows["Desk"].run(text="What is the price of tea?")

    assert (answer.text, answer.rounds) == ("Tea is 2 EUR.", 0)


async def test_a_hard_question_is_improved_until_the_critic_agrees(
    flows: dict[str, Workflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = FakeLLM(
        {
            "simple or hard": ["hard"],
            "Answer with care": ["Because."],
            "Improve": ["Because of the tax."],
            "What is wrong": ["Too short.", "OK."],
        }
    )
    monkeypatch.setattr(flows["Desk"], "llm", model, raising=False)

    handler = flows["Desk"].run(text="Why two amounts?")
    shown: list[Any] = [event async for event in handler.stream_events()]
    answer = await handler

    assert (answer.text, answer.rounds) == ("Because of the tax.", 2)
    assert [event.text for event in shown] == ["Too short.", "Because of the tax."]
    assert shown[0].draft.text == "Because."


async def test_a_critic_who_never_agrees_has_three_drafts(
    flows: dict[str, Workflow], monkeypatch: pytest.MonkeyPatch, model: ScriptedLLM
) -> None:
    """As with the scripted server, which says neither "simple" nor "OK"."""
    answer = await flows["Desk"].run(text="Why?")

    assert answer.rounds == 3
    # The route, three drafts, two criticisms.
    assert model.counts.report()["requests"] == 6


async def test_the_first_two_sources_that_find_something_count(
    flows: dict[str, Workflow], monkeypatch: pytest.MonkeyPatch, model: ScriptedLLM
) -> None:
    """One source never answers, and one finds nothing: neither delays the answer."""
    never = asyncio.Event()

    async def slow(question: str) -> list[str]:
        await never.wait()
        return [question]

    async def empty(question: str) -> list[str]:
        return []

    own = flows["Ask"].sources  # type: ignore[attr-defined]
    sources = {"slow": slow, "empty": empty, "docs": own["docs"], "runbooks": own["runbooks"]}
    monkeypatch.setattr(flows["Ask"], "sources", sources, raising=False)

    answer = await flows["Ask"].run(text="What is a dead letter?")

    assert answer.sources == ["docs", "runbooks"]
    assert "dead letter" in answer.text


async def test_a_source_that_is_down_is_left_out(
    flows: dict[str, Workflow], monkeypatch: pytest.MonkeyPatch, model: ScriptedLLM
) -> None:
    class Down(ConnectionError):
        permanent = True

    async def down(question: str) -> list[str]:
        raise Down(question)

    own = flows["Ask"].sources  # type: ignore[attr-defined]
    sources = {"down": down, "docs": own["docs"]}
    monkeypatch.setattr(flows["Ask"], "sources", sources, raising=False)

    answer = await flows["Ask"].run(text="What is a dead letter?")

    assert answer.sources == ["docs"]


async def test_every_page_of_the_docs_is_in_the_overview(
    flows: dict[str, Workflow], model: ScriptedLLM
) -> None:
    """Also with a model that fails now and then: a page is asked for again, and paid once."""
    model.script.change({"faults": [{"kind": "500", "next": 2}]})
    pages = {page.name for page in (EXAMPLES.parent).glob("*.md")}

    overview = await flows["Digest"].run()

    assert overview.pages == len(pages)
    assert {name for name in pages if f"\n{name}: " in overview.text} == pages
    # Each page, the overview, and the two calls that failed.
    assert model.counts.report()["requests"] == len(pages) + 3


@pytest.mark.parametrize("name", ["router", "retrieval", "map_reduce"])
async def test_an_example_serves_its_workflow(flows: dict[str, Workflow], name: str) -> None:
    """`faust -A NAME worker`, as its first lines say."""
    module = example(name)
    assert f"faust -A {name} worker" in (module.__doc__ or "")
    assert isinstance(module.app, faust.App)
