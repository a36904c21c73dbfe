"""Events: made strictly, read leniently, never changed."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer

from fleet import Event, FleetError, StartEvent, StopEvent
from fleet.records.events import (
    FrozenEvent,
    UndecodableEvent,
    UnencodableEvent,
    decoded,
    encoded,
    type_name,
)


class Tone(Enum):
    DRY = "dry"


class Part(BaseModel):
    text: str


class OpenPart(BaseModel):
    model_config = ConfigDict(extra="allow")


class Nested(Event):
    number: int = 0


class Joke(Event):
    text: str
    score: float = 1.0


class Rich(Event):
    at: datetime
    price: Decimal
    id: UUID
    tone: Tone
    tags: set[str]
    pair: tuple[int, str]
    parts: list[Part]
    maybe: int | None = None


class Renamed(Event):
    sender: str = Field(alias="from")
    receiver: str = Field(validation_alias="to")


class Carrier(Event):
    nested: Nested = Nested()
    part: OpenPart = OpenPart()


class TopicStart(StartEvent):
    topic: str


class TestMaking:
    def test_an_event_cannot_be_changed(self) -> None:
        """What was sent does not change any more, so assignment raises, with the way out."""
        joke = Joke(text="a")
        with pytest.raises(
            FrozenEvent, match=r"Joke.text cannot be changed.*model_copy\(update="
        ) as told:
            joke.text = "b"  # type: ignore[misc]
        assert isinstance(told.value, AttributeError)
        with pytest.raises(FrozenEvent, match=r"Joke.text cannot be changed"):
            del joke.text
        assert joke.text == "a"

    def test_an_unknown_field_is_an_error_where_an_event_is_made(self) -> None:
        """A typo in a field's name is found at once."""
        with pytest.raises(ValidationError, match="scroe"):
            Joke(text="a", scroe=2)  # type: ignore[call-arg]

    def test_a_start_event_takes_any_fields(self) -> None:
        """A plain StartEvent holds whatever it is given, as attributes."""
        start = StartEvent(topic="pirates", count=2)
        assert (start.topic, start.count) == ("pirates", 2)  # type: ignore[attr-defined]

    def test_a_declared_start_field_is_checked(self) -> None:
        """A subclass of StartEvent checks what it declares."""
        with pytest.raises(ValidationError, match="topic"):
            TopicStart()  # type: ignore[call-arg]

    def test_a_stop_event_has_a_result(self) -> None:
        """StopEvent holds a result of any type, None where none is given."""
        assert StopEvent(result={"a": 1}).result == {"a": 1}
        assert StopEvent().result is None

    def test_the_type_name_is_the_class_name(self) -> None:
        """Topics and envelopes carry the name of the class, wherever it is defined."""
        assert type_name(Joke) == "Joke"


class TestGet:
    def test_get_returns_a_declared_field_and_a_free_one(self) -> None:
        """`get` finds declared fields, their defaults and free fields alike."""
        assert Joke(text="a").get("score") == 1.0
        assert StartEvent(topic="x").get("topic") == "x"
        assert TopicStart(topic="x", style="dry").get("style") == "dry"  # type: ignore[call-arg]

    def test_get_returns_the_default_where_there_is_no_such_field(self) -> None:
        """A missing field gives the default, which is None unless said otherwise."""
        assert StartEvent().get("topic") is None
        assert Joke(text="a").get("topic", "none") == "none"

    @pytest.mark.parametrize("name", ["copy", "json", "encode"])
    def test_get_knows_fields_only(self, name: str) -> None:
        """A method's name is a field only where a field was given."""
        assert StartEvent().get(name, "default") == "default"
        assert StartEvent(**{name: 5}).get(name, "default") == 5


class Marker(Event):
    pass


class Listing(Event):
    items: list[str]
    keys: int = 0


class Kept(Marker):
    model_config = ConfigDict(extra="allow")
    number: int


class KeptToo(Kept):
    text: str = ""


class TestFreeFields:
    @pytest.mark.parametrize("kind", [Event, Marker, StartEvent, StopEvent])
    def test_a_class_without_fields_takes_any(self, kind: type[Event]) -> None:
        """Free fields are attributes, and are read as those of a dictionary."""
        event: Any = kind(topic="cats", count=2)
        assert (event.topic, event["count"]) == ("cats", 2)
        assert ("topic" in event, "tone" in event, len(event), bool(event)) == (
            True,
            False,
            2,
            True,
        )
        assert list(event) == ["topic", "count"]
        assert list(event.keys()) == ["topic", "count"]
        assert list(event.values()) == ["cats", 2]
        assert event.to_dict() == dict(event.items())
        assert dict(**event) == {"topic": "cats", "count": 2}
        assert decoded(kind, encoded(event)) == event

    def test_an_event_without_fields_is_true(self) -> None:
        """`if event:` asks whether there is an event, as for any object."""
        assert bool(StartEvent())
        assert len(StartEvent()) == 0

    def test_iteration_is_over_free_fields_and_reading_over_all(self) -> None:
        """Declared fields do not count as free, and can be read in each way."""
        joke, end = Joke(text="a"), StopEvent(result=1, tone="dry")
        assert (joke["score"], "text" in joke, len(joke), list(joke)) == (1.0, True, 0, [])
        assert (end["result"], list(end)) == (1, ["tone"])

    def test_what_is_not_there_is_a_key_error(self) -> None:
        """As a dictionary's; as an attribute it is an AttributeError."""
        with pytest.raises(KeyError, match="tone"):
            StartEvent(topic="cats")["tone"]
        with pytest.raises(AttributeError, match="tone"):
            StartEvent(topic="cats").tone  # type: ignore[attr-defined]  # noqa: B018

    def test_a_free_field_cannot_be_changed(self) -> None:
        """Not as an item and not as an attribute: the error names the way out."""
        event: Any = StartEvent(topic="cats")
        with pytest.raises(FrozenEvent, match=r"StartEvent.topic cannot be changed"):
            event["topic"] = "dogs"
        with pytest.raises(FrozenEvent, match=r"StartEvent.tone cannot be changed"):
            event["tone"] = "dry"
        with pytest.raises(FrozenEvent, match=r"StartEvent.topic cannot be changed"):
            event.topic = "dogs"
        with pytest.raises(FrozenEvent, match=r"StartEvent.topic cannot be changed"):
            del event["topic"]
        assert event.to_dict() == {"topic": "cats"}

    @pytest.mark.parametrize("name", ["keys", "values", "items", "to_dict"])
    def test_a_field_hides_the_method_of_its_name(self, name: str) -> None:
        """A field of yours is what its name gives, free or declared."""
        assert getattr(StartEvent(**{name: ["a"]}), name) == ["a"]
        assert Listing(items=["a"]).items == ["a"]
        assert Listing(items=["a"])["keys"] == 0

    def test_a_class_says_itself_whether_it_takes_more(self) -> None:
        """`extra="allow"` in a class counts for it and for the classes below it."""
        for kind in (Kept, KeptToo):
            event: Any = kind(number=1, tone="dry")  # type: ignore[call-arg]
            assert (event.tone, len(event)) == ("dry", 1)
        with pytest.raises(ValidationError, match="tone"):
            type("Strict", (Marker,), {"__annotations__": {"number": int}})(number=1, tone="dry")

    def test_a_stop_event_takes_its_result_by_position(self) -> None:
        """`StopEvent("done")` is `StopEvent(result="done")`, also of a class below it."""
        assert StopEvent("done", tone="dry") == StopEvent(result="done", tone="dry")
        with pytest.raises(TypeError):
            StopEvent("done", result="done")  # type: ignore[misc]


class TestRoundTrip:
    def test_everything_that_pydantic_knows_comes_back(self) -> None:
        """Typed fields come back as the values that they were."""
        rich = Rich(
            at=datetime(2026, 1, 2, tzinfo=UTC),
            price=Decimal("1.50"),
            id=UUID(int=5),
            tone=Tone.DRY,
            tags={"a", "b"},
            pair=(1, "x"),
            parts=[Part(text="ü")],
        )
        assert decoded(Rich, encoded(rich)) == rich

    def test_free_fields_come_back(self) -> None:
        """What a StartEvent was given beyond its declared fields is on the wire, too."""
        start = TopicStart(topic="x", style={"tone": "dry"})  # type: ignore[call-arg]
        assert decoded(TopicStart, encoded(start)) == start

    def test_a_field_with_an_alias_comes_back(self) -> None:
        """Fields travel under their own names, whatever alias they are made with."""
        event = Renamed.model_validate({"from": "a", "to": "b"})
        assert decoded(Renamed, encoded(event)) == event

    def test_an_alias_is_read(self) -> None:
        """A producer that is not ours may write a field's alias."""
        assert decoded(Renamed, b'{"from": "a", "to": "b"}').sender == "a"

    def test_the_value_is_a_json_object_of_the_fields(self) -> None:
        """A reader that knows nothing of Fleet finds plain JSON."""
        assert encoded(Joke(text="ü")) == '{"text":"ü","score":1.0}'.encode()


class TestReading:
    def test_unknown_fields_are_ignored(self) -> None:
        """A newer producer's additional field does not break an older worker."""
        assert decoded(Joke, b'{"text": "a", "new": [1]}') == Joke(text="a")

    def test_unknown_fields_of_a_nested_event_are_ignored(self) -> None:
        """An event inside an event may be newer than its reader as well."""
        value = b'{"nested": {"number": 3, "new": 1}}'
        assert decoded(Carrier, value).nested == Nested(number=3)

    def test_a_nested_model_that_keeps_unknown_fields_keeps_them(self) -> None:
        """What a model inside an event allows is not lost on the way."""
        event = Carrier(part=OpenPart.model_validate({"usage": 3}))
        assert decoded(Carrier, encoded(event)).part.model_extra == {"usage": 3}

    def test_a_start_event_keeps_its_fields_beside_a_newer_nested_event(self) -> None:
        """Ignoring what is new inside does not cost a start event its own free fields."""

        class Begin(StartEvent):
            nested: Nested

        begun = decoded(Begin, b'{"nested": {"number": 1, "new": 2}, "free": 3}')
        assert begun.nested.number == 1
        assert begun.get("free") == 3

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            (b"", "cannot be read as Joke"),
            (b"\xff", "cannot be read as Joke"),
            (b"[]", "cannot be read as Joke"),
            (b'{"score": 1}', "text: Field required"),
            (b'{"text": "a", "score": "high", "new": 1}', "score: "),
            (b'{"text": "a"', "cannot be read as Joke"),
        ],
    )
    def test_what_is_no_such_event_is_refused(self, value: bytes, said: str) -> None:
        """Bytes that are not the event raise an error that names type, field and way out."""
        with pytest.raises(UndecodableEvent, match=re.escape(said)) as caught:
            decoded(Joke, value)
        assert isinstance(caught.value, FleetError)
        assert "as JSON" in str(caught.value)

    def test_an_error_does_not_repeat_what_was_read(self) -> None:
        """The text of an error may be logged, and an event may hold a prompt."""
        with pytest.raises(UndecodableEvent) as caught:
            decoded(Joke, b'{"text": {"secret": "prompt"}}')
        assert "secret" not in str(caught.value)


class TestWriting:
    @pytest.mark.parametrize("value", [..., b"\xff", "\ud83d", {"deep": ...}], ids=repr)
    def test_what_json_cannot_carry_is_refused(self, value: Any) -> None:
        """A value without a JSON form raises an error of ours that names the event."""
        with pytest.raises(UnencodableEvent, match="this StopEvent cannot be sent: result: "):
            encoded(StopEvent(result=value))

    def test_a_circle_is_refused(self) -> None:
        """A value that contains itself is refused like any that JSON cannot carry."""
        circle: list[Any] = []
        circle.append(circle)
        with pytest.raises(UnencodableEvent):
            encoded(StopEvent(result=circle))

    def test_a_field_that_fails_to_serialize_is_refused(self) -> None:
        """Whatever a user's own serializer raises becomes the same error."""

        class Broken(Event):
            length: int = 0

            @field_serializer("length")
            def _written(self, length: int) -> int:
                raise KeyError("length")

        with pytest.raises(UnencodableEvent, match="Broken"):
            encoded(Broken())
