"""The pytest plugin: its fixtures, and what it loads before one is used."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import openai
import pytest
from tenacity import wait_fixed

from fleet import LLM, StartEvent, StopEvent, Workflow, retry_policy, step
from fleet.testing import pytest_plugin, virtual_time
from fleet.testing.scripted import ScriptedModel

#: Slow to load, or with modules that a session without Fleet does not expect.
HEAVY = {
    "aiohttp",
    "aiokafka",
    "faust",
    "fleet.llm",
    "fleet.workflow.workflow",
    "openai",
    "pydantic",
}


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def session(folder: Path, test: str, *arguments: str) -> str:
    """Run *test* with the plugin alone; return what pytest prints."""
    (folder / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "fleet.testing.pytest_plugin"]
    ended = subprocess.run(
        [*command, "-p", "no:fleet", *arguments, "test_it.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stdout


def test_pytest_finds_it_by_itself() -> None:
    """By an entry point."""
    (found,) = importlib.metadata.entry_points(group="pytest11", name="fleet")
    assert found.value == pytest_plugin.__name__


def test_it_loads_nothing_before_a_fixture_is_used() -> None:
    """Every session of pytest pays for it."""
    loaded = python("import sys, fleet.testing.pytest_plugin; print(*sys.modules)")
    assert not HEAVY & set(loaded.split())


def test_the_kit_needs_no_pytest() -> None:
    """All of its names."""
    loaded = python("import sys; from fleet.testing import *; print(*sys.modules)")
    assert "pytest" not in loaded.split()
    assert "fleet.testing.failures" in loaded.split()


def test_a_session_that_is_not_async_has_the_scripted_model(tmp_path: Path) -> None:
    """It is a server in a thread."""
    test = (
        "import os, urllib.request\n"
        "def test_it(scripted_llm):\n"
        "    assert os.environ['OPENAI_BASE_URL'] == scripted_llm.base_url\n"
        "    assert urllib.request.urlopen(scripted_llm.base_url + '/models').status == 200\n"
    )
    assert "1 passed" in session(tmp_path, test)


def test_without_the_extra_a_test_with_a_broker_is_skipped(tmp_path: Path) -> None:
    """And the reason names the extra."""
    test = (
        "from contextlib import contextmanager\n"
        "import pytest\n"
        "from fleet.dev import kafka\n"
        "from fleet.dev.kafka.java import DevNotInstalled\n"
        "@contextmanager\n"
        "def embedded():\n"
        "    raise DevNotInstalled(ImportError('no jgo'))\n"
        "    yield\n"
        "kafka.embedded = embedded\n"
        "def test_it(fleet_broker):\n"
        "    raise AssertionError\n"
    )
    printed = session(tmp_path, test)
    assert "1 skipped" in printed
    assert "fleet-workflows[dev]" in printed


def test_a_broker_of_your_own_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other is started."""
    monkeypatch.setenv(pytest_plugin.VARIABLE, "kafka://example:9092")
    test = "def test_it(fleet_broker):\n    assert fleet_broker.bootstrap == 'example:9092'\n"
    assert "1 passed" in session(tmp_path, test)


async def test_the_scripted_model_answers_by_the_prompt(scripted_llm: ScriptedModel) -> None:
    """The first pattern that is found; else as it always does."""
    scripted_llm.answer("joke.*rain", "Drip.")
    scripted_llm.answer("joke", "Ha.")
    llm = LLM()
    assert str(await llm.complete("A joke\nabout rain")) == "Drip."
    assert [piece async for piece in llm.stream("A joke")] == ["Ha."]
    assert "Something else" in str(await llm.complete("Something else"))
    assert scripted_llm.prompts == ["A joke\nabout rain", "A joke", "Something else"]
    assert scripted_llm.answered == 3
    await llm.aclose()


async def test_the_scripted_model_fails_by_script(scripted_llm: ScriptedModel) -> None:
    """A fault that is added later leaves an earlier one as it is."""
    llm = LLM(max_retries=0)
    scripted_llm.fail("500", next=1)
    with pytest.raises(openai.InternalServerError):
        await llm.complete("one")
    scripted_llm.fail("429", containing="two")
    assert await llm.complete("one")
    with pytest.raises(openai.RateLimitError):
        await llm.complete("two")
    assert (scripted_llm.prompts, scripted_llm.answered) == (["one", "one", "two"], 1)
    await llm.aclose()


def test_no_regular_expression_is_refused(scripted_llm: ScriptedModel) -> None:
    """Where it is given."""
    with pytest.raises(ValueError, match="no regular expression"):
        scripted_llm.answer("(", "never")


class Asks(Workflow[str]):
    """Asks a model that is down, and again after a while."""

    llm = LLM(max_retries=0)

    @step(retry_policy=retry_policy(wait=wait_fixed(10)))
    async def ask(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=str(await self.llm.complete("one")))


async def test_the_scripted_model_is_waited_for_in_virtual_time(
    scripted_llm: ScriptedModel,
) -> None:
    """With patience; without it the time limit of the call would pass first."""
    scripted_llm.answer("one", "An answer.")
    scripted_llm.fail("500", next=1)
    async with virtual_time(patience=0.2) as clock:
        assert await Asks(timeout=60).run() == "An answer."
        assert 10 <= clock.seconds < 30
    assert scripted_llm.prompts == ["one", "one"]
    await Asks.llm.aclose()
