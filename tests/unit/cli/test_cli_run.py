"""`fleet run` up to the broker: fields, sentences, exit codes."""

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pydantic import BaseModel, Field

from fleet import (
    Event,
    HumanResponseEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowRuntimeError,
    step,
)
from fleet.cli import main
from fleet.cli.actions import run
from fleet.control import calls, event_fields
from fleet.records.errors import FleetError


class Place(BaseModel):
    """Where it is."""

    city: str


class Order(StartEvent):
    """A start event with fields of many kinds."""

    name: str
    count: int = 1
    tags: tuple[str, ...] = ()
    place: Place | None = None
    gift: bool = False
    code: str | int = ""
    renamed: int = Field(0, alias="called")


class Ordering(Workflow):
    """Starts with a start event that declares its fields."""

    @step
    async def take(self, ev: Order) -> StopEvent:
        """End at once."""
        return StopEvent(result=ev.name)


class Failing(Workflow):
    """Fails as it is told."""

    @step
    async def fail(self, ev: StartEvent) -> StopEvent:
        """Raise what the start event wants."""
        raise {"plain": LookupError("not\n  here"), "mute": KeyError(), "ours": Strange()}[
            ev.get("how")
        ]


class Strange(FleetError):
    """Raised by a step, as any error."""

    def __init__(self) -> None:
        super().__init__("a strange thing; leave it alone")


class Plain(Workflow):
    """Starts with anything."""

    @step
    async def take(self, ev: StartEvent) -> StopEvent:
        """End at once."""
        return StopEvent()


def made(workflow: type[Workflow], *words: str) -> Event:
    """Return the start event."""
    return event_fields.start_event(workflow, words)


def refused(workflow: type[Workflow], *words: str) -> str:
    """Return the sentence that refuses these words; it ends with 2."""
    with pytest.raises(FleetError) as caught:
        made(workflow, *words)
    assert getattr(caught.value, "exit_code", 1) == 2
    return str(caught.value)


def fleet(*arguments: str) -> Result:
    """Run the command, with a broker that nobody has."""
    return CliRunner().invoke(main.main, ["run", "--broker", "kafka://127.0.0.1:1", *arguments])


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (["name=cats"], {"name": "cats"}),
        (["name=7"], {"name": "7"}),
        (["name=null"], {"name": "null"}),
        (["name=a=b:=c"], {"name": "a=b:=c"}),
        (["name="], {"name": ""}),
        (["name=x", "count=3"], {"count": 3}),
        (["name=x", 'tags=["a","b"]'], {"tags": ("a", "b")}),
        (["name=x", 'place={"city":"Bremen"}'], {"place": Place(city="Bremen")}),
        (["name=x", "place=null"], {"place": None}),
        (["name=x", "gift=true"], {"gift": True}),
        (["name=x", "code=7"], {"code": "7"}),
        (["name=x", "code:=7"], {"code": 7}),
        (["name=x", "called=4"], {"renamed": 4}),
        (['name:="cats"'], {"name": "cats"}),
    ],
)
def test_a_declared_field_decides_what_a_word_means(
    words: list[str], fields: dict[str, Any]
) -> None:
    """Text where text fits, else what it is as JSON; `:=` is JSON in any case."""
    event = made(Ordering, *words)
    assert {name: getattr(event, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("topic=2024", "2024"),
        ("topic=true", "true"),
        ('topic=["a"]', '["a"]'),
        ("topic:=2024", 2024),
        ('topic:=["a"]', ["a"]),
        ("topic:=null", None),
    ],
)
def test_a_plain_start_event_takes_words_as_text(word: str, value: object) -> None:
    """A topic that looks like a number stays text unless `:=` says otherwise."""
    assert made(Plain, word).get("topic", "missing") == value


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["pirates"], "'pirates' does not have the form key=value"),
        (["=pirates"], "'=pirates' does not have the form key=value"),
        ([":=1"], "':=1' does not have the form key=value"),
        (["a=1", "a:=1"], "the field a is given twice"),
        (["n:=cats"], "the value of 'n:=cats' is not JSON"),
        (["n:=NaN"], "JSON has no NaN"),
    ],
)
def test_a_word_that_gives_no_field_is_refused(words: list[str], sentence: str) -> None:
    """With the form that it should have."""
    assert sentence in refused(Plain, *words)


def test_a_missing_field_is_named() -> None:
    """With all that there are."""
    sentence = refused(Ordering, "count=1")
    assert "name: Field required" in sentence
    assert "Order has the fields name, count, tags" in sentence
    assert "key=value" in sentence


def test_an_unknown_field_is_named() -> None:
    """A typo is found before anything is started."""
    assert "takes no nmae" in refused(Ordering, "nmae=cats")


@pytest.mark.parametrize("word", ["count=many", "count=[1]", "tags={}", "place=Bremen"])
def test_a_value_that_does_not_fit_is_refused(word: str) -> None:
    """Neither as text nor as JSON; the field is named."""
    assert f"cannot start: {word.partition('=')[0]}" in refused(Ordering, "name=x", word)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("plain", "LookupError: not here (in step fail of run r1, attempt 1)"),
        ("mute", "KeyError (in step fail of run r1, attempt 1)"),
        ("ours", "Strange: a strange thing; leave it alone (in step fail of run r1, attempt 1)"),
    ],
)
async def test_a_failed_run_is_one_sentence_with_the_step(how: str, sentence: str) -> None:
    """The original error, its type, and where it was raised."""
    with pytest.raises(calls.RunFailed) as caught:
        await calls.outcome(Failing().run(how=how, run_id="r1"))
    assert str(caught.value) == sentence


async def test_what_ends_a_run_otherwise_stays_as_it_is() -> None:
    """No step failed, so none is named."""
    handler = Plain().run(run_id="r2")
    handler.fail(WorkflowRuntimeError("the connection was closed"))
    with pytest.raises(WorkflowRuntimeError, match="the connection was closed"):
        await calls.outcome(handler)


def test_a_result_that_is_text_is_printed_as_it_is() -> None:
    """Anything else as JSON, and letters stay letters."""
    assert run.text("grün\n") == "grün\n"
    assert json.loads(run.text({"a": [1, None]})) == {"a": [1, None]}
    assert run.text(StopEvent.model_validate({"result": "grün"})).count("grün") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["jok", "topic=cats"], 2, "no workflow is called 'jok'"),
        (["joke", "cats"], 2, "'cats' does not have the form key=value"),
        (["joke"], 2, "JokeFlow cannot start: topic: Field required"),
        (["joke", "topci=cats"], 2, "JokeFlow takes no topci"),
        (["joke", "topic=cats"], 4, "no Kafka broker answers at 127.0.0.1:1"),
        (["joke", "topic=cats", "--timeout", "-1"], 2, "--timeout"),
        (["joke", "topic=cats", "--timeout", "1.7e308"], 2, "use None for no limit"),
        (["joke", "topic=cats", "--run-id", "E" * 256], 2, "at most 255 bytes"),
        ([], 2, "Missing argument 'WORKFLOW'"),
    ],
)
def test_what_cannot_start_is_one_sentence_and_a_code(
    arguments: list[str], code: int, sentence: str
) -> None:
    """Nothing on stdout, no stack trace."""
    result = fleet(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_the_clients_own_lines_stay_away_from_the_terminal() -> None:
    """One sentence and its address, not ten lines of a library."""
    _, address = fleet("joke", "topic=cats").stderr.splitlines()
    assert address == "See docs/reference.md#brokerunreachable"


class Approval(HumanResponseEvent):
    """An answer that this module declares, and no step accepts."""

    approved: bool
    by: str


def test_an_event_of_a_run_is_made_of_words() -> None:
    """Also of a type that no step accepts: a step may wait for it."""
    event = event_fields.event(Plain, "Approval", ["approved=true", "by=2024"])
    assert event == Approval(approved=True, by="2024")


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("Aproval", [], "Plain knows no event type 'Aproval'; its steps take StartEvent"),
        ("Approval", ["approved=yes?"], "Approval has the fields approved, by"),
        ("Approval", ["approved=true", "by=Ann", "when=now"], "Approval has the fields approved"),
        ("Approval", ["approved"], "does not have the form key=value"),
        ("Approval", ["approved:=tru"], "is not JSON"),
    ],
)
def test_an_event_that_cannot_be_made_is_refused(name: str, words: list[str], said: str) -> None:
    with pytest.raises(FleetError, match=re.escape(said)) as caught:
        event_fields.event(Plain, name, words)
    assert getattr(caught.value, "exit_code", 1) == 2
