"""
Fleet's pytest plugin: a broker and a scripted model for tests.

It is loaded by itself, as soon as Fleet is installed. A fixture loads what it needs when a test
asks for it.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fleet.dev.kafka import Broker
    from fleet.testing.scripted import ScriptedModel

#: Names a broker to use instead of one that is started.
VARIABLE = "FLEET_TEST_BROKER"


@pytest.fixture(scope="session")
def fleet_broker() -> Iterator["Broker"]:
    """A real broker for all tests of a session; its `address` is `kafka://host:port`.

    That of FLEET_TEST_BROKER, else one that is started without Docker and ends with the session. It
    needs the extra `dev`; without it the test is skipped. One broker serves all tests, because a
    start takes seconds; so a test uses topics of its own.
    """
    from fleet.dev import kafka  # noqa: PLC0415 - see above
    from fleet.dev.kafka.java import DevNotInstalled  # noqa: PLC0415 - see above

    given = os.environ.get(VARIABLE)
    if given:
        yield kafka.at(given)
        return
    with ExitStack() as block:
        try:
            broker = block.enter_context(kafka.embedded())
        except DevNotInstalled as missing:
            pytest.skip(f"fleet_broker: {missing}")
        yield broker


@pytest.fixture
def scripted_llm(monkeypatch: pytest.MonkeyPatch) -> Iterator["ScriptedModel"]:
    """A server of OpenAI's protocol without a model behind it, at which OPENAI_BASE_URL points.

    `scripted_llm.answer("joke about", "A joke.")` says what it answers, `fail("429", next=2)` what
    goes wrong, and `prompts` what was asked.
    """
    from fleet.testing.scripted import ScriptedModel  # noqa: PLC0415 - see above

    model = ScriptedModel()
    model.start()
    try:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "scripted")
        yield model
    finally:
        model.stop()
