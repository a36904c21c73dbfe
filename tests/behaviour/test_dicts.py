"""Events that are read as dicts."""

from typing import Any

import pytest

from behaviour import library


@pytest.fixture
def events(lib: str) -> Any:
    """The event classes of each library."""
    return library.module("scenarios.dicts", lib)


async def test_free_fields_are_read_by_key_and_by_attribute(events: Any) -> None:
    event = events.Event(a=1, b="two")

    assert (event.a, event["a"], event.get("a"), event.get("c", 3)) == (1, 1, 1, 3)
    assert ("a" in event, "c" in event) == (True, False)


async def test_free_fields_are_listed_as_a_dict_lists_them(events: Any) -> None:
    event = events.Open(a=1, b="two")

    assert list(event) == list(event.keys()) == ["a", "b"]
    assert list(event.values()) == [1, "two"]
    assert list(event.items()) == [("a", 1), ("b", "two")]
    assert (len(event), event.to_dict()) == (2, {"a": 1, "b": "two"})


async def test_an_event_without_free_fields_is_true(events: Any) -> None:
    assert bool(events.Open()) is True
    assert len(events.Open()) == 0


async def test_a_missing_field_is_an_attribute_error_or_a_key_error(events: Any) -> None:
    event = events.Open(a=1)

    with pytest.raises(AttributeError, match="wrong"):
        _ = event.wrong
    with pytest.raises(KeyError):
        _ = event["wrong"]


async def test_private_attributes_are_those_of_pydantic(events: Any) -> None:
    event = events.Declared(name="x")

    assert (event.name, event._hidden) == ("x", "hidden")


async def test_events_of_equal_fields_are_equal(events: Any) -> None:
    assert events.Declared(name="x") == events.Declared(name="x")
    assert events.Declared(name="x") != events.Declared(name="y")
