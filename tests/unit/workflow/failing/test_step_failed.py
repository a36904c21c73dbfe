"""The event of a handler on its way: typed again where the types are, and described elsewhere."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from pydantic import SecretStr

from fleet import ClearText, Event, StepFailedEvent, WorkflowRuntimeError
from fleet.records.events import UndecodableEvent, UnencodableEvent, decoded, encoded
from fleet.records.lifecycle import Failure
from fleet.workflow.failing import exceptions, step_failed
from fleet.workflow.failing.step_failed import Input, JoinedEvents, LastFailure

MOMENT = datetime(2026, 5, 1, 12, 30, 15, 250_000, UTC)


class Question(Event):
    text: str
    weight: float = 1.0


class Login(Event):
    password: Annotated[SecretStr, ClearText]


class Rejected(Exception):
    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def made(**fields: Any) -> StepFailedEvent:
    known: dict[str, Any] = {
        "step_name": "ask",
        "input_event": Question(text="why"),
        "exception": Rejected("no", 4),
        "attempts": 3,
        "elapsed_seconds": 1.5,
        "failed_at": MOMENT,
    }
    return StepFailedEvent(**(known | fields))


def on_the_way(event: StepFailedEvent) -> StepFailedEvent:
    return decoded(StepFailedEvent, encoded(event))


class TestWay:
    def test_it_comes_back_typed(self) -> None:
        """Every field, the exception with its attributes."""
        found = on_the_way(made())
        assert found.input_event == Question(text="why")
        assert type(found.exception) is Rejected
        assert (str(found.exception), found.exception.code) == ("no", 4)
        told = found.step_name, found.attempts, found.elapsed_seconds, found.failed_at
        assert told == ("ask", 3, 1.5, MOMENT)

    def test_a_join_has_its_events(self) -> None:
        joined = JoinedEvents(events=[Question(text="a"), Question(text="b")], left_out=0)
        assert on_the_way(made(input_event=joined)).input_event == joined

    def test_an_exception_of_an_unknown_type_is_named(self) -> None:
        """Nothing is imported for it."""
        value = json.loads(encoded(made()))
        value["exception"] |= {"module": "elsewhere", "type": "Odd", "message": "gone"}
        found = decoded(StepFailedEvent, json.dumps(value).encode())
        assert type(found.exception) is WorkflowRuntimeError
        assert str(found.exception) == "Odd: gone"

    def test_an_event_of_an_unknown_type_has_free_fields(self) -> None:
        """As a version without it has."""
        value = json.loads(encoded(made()))
        value["input_event"] |= {"type": "Gone"}
        found = decoded(StepFailedEvent, json.dumps(value).encode())
        assert type(found.input_event) is Event
        assert found.input_event["text"] == "why"

    def test_of_two_types_of_one_name_the_workflows_is_meant(self) -> None:
        """Without a workflow, that of the same module."""

        def other() -> type[Event]:
            return type("Question", (Event,), {"__module__": "elsewhere", "__annotations__": {}})

        newer = other()
        value = encoded(made())
        assert type(decoded(StepFailedEvent, value).input_event) is Question
        found = decoded(StepFailedEvent, value, {"Question": newer}.get)
        assert type(found.input_event) is newer

    def test_an_event_that_is_wrong_is_refused(self) -> None:
        """By its sender, with the field's name."""
        loose = Event(number=float)
        with pytest.raises(UnencodableEvent, match="input_event"):
            encoded(made(input_event=loose))

    @pytest.mark.parametrize(
        "given",
        [
            3,
            {},
            {"type": "Question"},
            {"type": 3, "event": {}},
            {"type": "Question", "module": __name__, "event": {}},
        ],
    )
    def test_what_is_no_event_is_not_read(self, given: object) -> None:
        value = json.loads(encoded(made())) | {"input_event": given}
        with pytest.raises(UndecodableEvent):
            decoded(StepFailedEvent, json.dumps(value).encode())

    def test_what_is_no_exception_is_not_read(self) -> None:
        value = json.loads(encoded(made())) | {"exception": {"message": 3}}
        with pytest.raises(UndecodableEvent, match="exception"):
            decoded(StepFailedEvent, json.dumps(value).encode())

    def test_secrets_are_clear_on_the_wire_alone(self) -> None:
        """A log of the event shows their mask."""
        event = made(input_event=Login(password=SecretStr("geheim")))
        assert "geheim" not in event.model_dump_json()
        assert b"geheim" in encoded(event)


class TestWritten:
    def test_the_engine_writes_events_as_they_came(self) -> None:
        """Bytes that this version would write in another way."""
        value = b'{"text":"why",  "weight":1e3, "later":true}'
        last = LastFailure(exceptions.describe(Rejected("no", 4)), 2, -0.5, 1_000.5)
        written = step_failed.written("ask", Input("Question", __name__, value).written(), last)
        assert value in written
        found = decoded(StepFailedEvent, written)
        assert found.input_event == Question(text="why", weight=1000)
        # A worker's idea of the broker's clock may be set back.
        assert (found.attempts, found.elapsed_seconds) == (2, 0)
        assert found.failed_at == datetime(1970, 1, 1, 0, 0, 1, 500, UTC)

    def test_of_a_join_it_writes_all_or_their_number(self) -> None:
        one = Input("Question", __name__, b'{"text":"a"}')
        last = LastFailure(Failure(module="m", type="t", message=""), 1, 0, 0)
        some = decoded(StepFailedEvent, step_failed.written("s", step_failed.joined([one]), last))
        assert some.input_event == JoinedEvents(events=[Question(text="a")])
        none = decoded(StepFailedEvent, step_failed.written("s", step_failed.left_out(7), last))
        assert none.input_event == JoinedEvents(events=[], left_out=7)
        empty = decoded(StepFailedEvent, step_failed.written("s", step_failed.joined([]), last))
        assert empty.input_event == JoinedEvents(events=[])
