"""`ctx.store`: paths, dictionaries of leaves, and what an attempt shows to others and when."""

import copy
import math
import random
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel, SecretStr

from fleet import ContextStateError
from fleet.records.state import MemoryState, Overlay, context_prefix
from fleet.workflow.context_state import leaves
from fleet.workflow.store import Store

T = TypeVar("T")
RUN = context_prefix("run")


class Part(BaseModel):
    text: str
    pages: list[int]


def nested(depth: int) -> Any:
    """Return a list in a list in a list."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    raise AssertionError("it waits")


class Attempt:
    """One attempt's store over a state, with plain methods."""

    def __init__(self, below: Overlay | MemoryState, prefix: bytes = RUN) -> None:
        self.changes = Overlay(below)
        self.store = Store(self.changes, prefix)

    def get(self, path: str, *default: Any) -> Any:
        return now(self.store.get(path, *default))

    def set(self, path: str, value: Any) -> None:
        now(self.store.set(path, value))

    def delete(self, path: str) -> None:
        now(self.store.delete(path))

    @property
    def whole(self) -> dict[str, Any]:
        return now(self.store.to_dict())


@pytest.fixture
def attempt() -> Attempt:
    return Attempt(MemoryState())


class TestGetAndSet:
    @pytest.mark.parametrize(
        "value", [1, 1.5, "ü", True, None, [], {}, [1, {"a": [2]}], {"a": {"b": {}}}], ids=repr
    )
    def test_what_is_set_is_what_is_got(self, attempt: Attempt, value: Any) -> None:
        """Every JSON value comes back equal, None and empty ones included."""
        attempt.set("path", value)
        assert attempt.get("path") == value

    def test_a_dotted_path_goes_into_dictionaries(self, attempt: Attempt) -> None:
        """`a.b` is the value `b` of the dictionary `a`, whichever way it was set."""
        attempt.set("a.b", 1)
        attempt.set("x", {"y": {"z": 2}})
        assert attempt.get("a") == {"b": 1}
        assert attempt.get("x.y.z") == 2
        assert attempt.whole == {"a": {"b": 1}, "x": {"y": {"z": 2}}}

    def test_a_number_in_a_path_is_a_position_in_a_list(self, attempt: Attempt) -> None:
        """`items.0` is the first item, also of a list inside a dictionary."""
        attempt.set("a.items", [{"name": "x"}, 5])
        assert attempt.get("a.items.0.name") == "x"
        assert attempt.get("a.items.1") == 5
        assert attempt.get("a.items.2", "none") == "none"

    def test_nested_dictionaries_merge_from_their_leaves(self, attempt: Attempt) -> None:
        """Setting one path of a dictionary leaves its other paths alone."""
        attempt.set("a", {"x": 1, "deep": {"y": 2}})
        attempt.set("a.deep.z", 3)
        assert attempt.get("a") == {"x": 1, "deep": {"y": 2, "z": 3}}

    def test_setting_replaces_everything_below(self, attempt: Attempt) -> None:
        """A dictionary that is set as a whole has nothing of the old one."""
        attempt.set("a", {"x": 1, "deep": {"y": 2}})
        attempt.set("a", {"z": 3})
        assert attempt.get("a") == {"z": 3}
        attempt.set("a", "text")
        assert attempt.whole == {"a": "text"}

    def test_a_name_that_only_begins_alike_is_another(self, attempt: Attempt) -> None:
        """`a` and `ab` and `a-b` are different values."""
        for path in ("a.x", "ab", "a-b.x"):
            attempt.set(path, path)
        attempt.set("a", 1)
        assert attempt.whole == {"a": 1, "ab": "ab", "a-b": {"x": "a-b.x"}}

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            (
                Part(text="x", pages=[1]),
                r"'a' cannot be kept: a Part would come back as a dict; set `value.model_dump",
            ),
            ({"b": [datetime(2026, 1, 2, tzinfo=UTC)]}, "'a.b.0' cannot be kept: a datetime would"),
            ({1, 2}, "a set would come back as a list; the context holds what JSON has: text"),
            ({1: 2}, "a key of type int would come back as another"),
            ({"b": (1, 2)}, "'a.b' cannot be kept: a tuple would come back as a list"),
            (SecretStr("x"), "a SecretStr is masked when it is written.*; send where the secret"),
            (b"x", "a bytes would come back as a str"),
            (object(), "'a' cannot be kept: .*object.*; the context holds what JSON has"),
            (10**5000, "'a' cannot be kept: "),
            (nested(300), "'a' cannot be kept: "),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_what_would_come_back_as_another_is_refused(
        self, attempt: Attempt, value: Any, said: str
    ) -> None:
        """At once, with the path and the way out; nothing is set."""
        with pytest.raises(ContextStateError, match=said):
            attempt.set("a", value)
        assert attempt.whole == {}

    @pytest.mark.parametrize("value", [math.inf, -math.inf, -0.0, 2**63, 10**4000, nested(150)])
    def test_what_comes_back_is_kept(self, attempt: Attempt, value: Any) -> None:
        """However odd it is."""
        attempt.set("a", value)
        assert repr(attempt.get("a")) == repr(value)

    def test_a_key_that_is_no_part_of_a_path_keeps_its_dictionary_whole(
        self, attempt: Attempt
    ) -> None:
        """A dictionary with a dot or nothing in a key is one value, and comes back unchanged."""
        odd = {"a.b": 1, "": 2, "plain": {"x": 3}}
        attempt.set("odd", odd)
        assert attempt.get("odd") == odd
        assert attempt.get("odd.plain.x") == 3

    def test_changing_a_value_that_was_got_changes_nothing(self, attempt: Attempt) -> None:
        """Only `set` writes."""
        attempt.set("items", [1])
        attempt.get("items").append(2)
        assert attempt.get("items") == [1]


class TestMissing:
    @pytest.mark.parametrize("path", ["b", "a.y", "a.x.deep", "items.5", "items.x", "items.-1"])
    def test_a_missing_value_is_an_error_without_a_default(
        self, attempt: Attempt, path: str
    ) -> None:
        """ValueError names the path; a default is returned instead, also None."""
        attempt.set("a.x", 1)
        attempt.set("items", [1])
        with pytest.raises(ValueError, match=f"no value at '{path}'"):
            attempt.get(path)
        assert attempt.get(path, None) is None
        assert attempt.get(path, 7) == 7

    @pytest.mark.parametrize("path", ["", ".", "a..b", ".a", "a.", "a\0b"])
    def test_what_is_no_path_is_refused(self, attempt: Attempt, path: str) -> None:
        """An empty part or a NUL is an error with an example, in each method."""
        for call in (
            lambda: attempt.get(path),
            lambda: attempt.set(path, 1),
            lambda: attempt.delete(path),
        ):
            with pytest.raises(ContextStateError, match="is no path of the context"):
                call()

    @pytest.mark.parametrize("position", ["²", "٣", "-1", "1_0", " 1", "9" * 5000, "2"])
    def test_what_is_no_position_of_a_list_has_no_value(
        self, attempt: Attempt, position: str
    ) -> None:
        """Python has numbers for some of these, and none for others that look like one."""
        attempt.set("items", [*range(2)])
        assert attempt.get(f"items.{position}", None) is None


class TestDelete:
    def test_a_value_and_all_below_it_go(self, attempt: Attempt) -> None:
        """Deleting a dictionary deletes its leaves, and nothing beside it."""
        attempt.set("a", {"x": 1, "deep": {"y": 2}})
        attempt.set("b", 3)
        attempt.delete("a")
        assert attempt.whole == {"b": 3}

    def test_a_leaf_goes_alone(self, attempt: Attempt) -> None:
        """A dictionary keeps its other leaves."""
        attempt.set("a", {"x": 1, "y": 2})
        attempt.delete("a.x")
        assert attempt.get("a") == {"y": 2}

    def test_a_dictionary_goes_with_its_last_leaf(self, attempt: Attempt) -> None:
        """A dictionary is what its leaves make, so without any there is none."""
        attempt.set("a.x", 1)
        attempt.delete("a.x")
        assert attempt.whole == {}

    def test_nothing_happens_where_there_is_nothing(self, attempt: Attempt) -> None:
        """Deleting what is not there is fine, also inside a list."""
        attempt.set("items", [1])
        attempt.delete("never.was")
        attempt.delete("items.0")
        assert attempt.whole == {"items": [1]}

    def test_clear_removes_the_run_and_no_other(self) -> None:
        """All values of this run go; another run's stay."""
        below = MemoryState()
        one, other = Attempt(below, context_prefix("run")), Attempt(below, context_prefix("run2"))
        one.set("a.b", 1)
        other.set("a", 2)
        below.write(one.changes.changes)
        below.write(other.changes.changes)
        cleared = Attempt(below, context_prefix("run"))
        now(cleared.store.clear())
        below.write(cleared.changes.changes)
        assert Attempt(below, context_prefix("run")).whole == {}
        assert Attempt(below, context_prefix("run2")).whole == {"a": 2}


class TestLimits:
    @pytest.mark.parametrize("value", [..., b"\xff", "\ud83d", [{"x": ...}]], ids=repr)
    def test_what_json_does_not_have_is_refused(self, attempt: Attempt, value: Any) -> None:
        """The error names the path and what the context holds; nothing is changed."""
        attempt.set("a", 1)
        with pytest.raises(ContextStateError, match="value at 'a' cannot be kept"):
            attempt.set("a", value)
        assert attempt.whole == {"a": 1}

    def test_a_circle_and_a_tower_are_refused(self, attempt: Attempt) -> None:
        """A value that contains itself or nests without end has no JSON."""
        circle: list[Any] = []
        circle.append(circle)
        tower: list[Any] = []
        for _ in range(300):
            tower = [tower]
        for value in (circle, tower):
            with pytest.raises(ContextStateError, match="cannot be kept"):
                attempt.set("a", value)

    @pytest.mark.parametrize("value", [1, "text", None, [1]], ids=repr)
    def test_nothing_goes_below_what_is_no_dictionary(self, attempt: Attempt, value: Any) -> None:
        """Setting a path through another kind of value is an error that names that value."""
        attempt.set("a.b", value)
        with pytest.raises(ContextStateError, match=r"'a\.b\.c' cannot be set: 'a\.b' holds"):
            attempt.set("a.b.c", 1)
        assert attempt.get("a.b") == value

    def test_a_value_inside_a_list_can_be_set(self, attempt: Attempt) -> None:
        """By its position; the list is kept as a whole."""
        attempt.set("a.items", [{"name": "x"}, 5])
        attempt.set("a.items.0.name", "y")
        attempt.set("a.items.1", {"deep": [1]})
        assert attempt.get("a.items") == [{"name": "y"}, {"deep": [1]}]
        for position in ("2", "-1", "name"):
            with pytest.raises(ContextStateError, match=r"'a\.items' holds a list that has no"):
                attempt.set(f"a.items.{position}", 1)

    def test_a_dictionary_that_is_kept_whole_takes_more_keys(self, attempt: Attempt) -> None:
        """One of its keys is no part of a path."""
        attempt.set("a", {"x.y": 1})
        attempt.set("a.z", 2)
        assert attempt.get("a") == {"x.y": 1, "z": 2}
        assert attempt.get("a.z") == 2

    def test_an_empty_dictionary_can_be_filled(self, attempt: Attempt) -> None:
        """It is a dictionary, though it is kept as a value."""
        attempt.set("a", {})
        attempt.set("a.b.c", 1)
        assert attempt.whole == {"a": {"b": {"c": 1}}}


class TestAttempts:
    def test_nobody_sees_what_an_attempt_has_changed(self) -> None:
        """Two attempts over one state see the state, each with its own changes."""
        below = MemoryState()
        one, other = Attempt(below), Attempt(below)
        one.set("a", 1)
        other.set("b", 2)
        assert (one.whole, other.whole) == ({"a": 1}, {"b": 2})
        assert Attempt(below).whole == {}

    def test_attempts_that_set_different_paths_do_not_overwrite_each_other(self) -> None:
        """Two steps at once may fill one dictionary."""
        committed = Overlay(MemoryState())
        one, other = Attempt(committed), Attempt(committed)
        one.set("scores.a", 1)
        other.set("scores.b", 2)
        for each in (one, other):
            leaves.apply(committed, each.changes.changes, RUN)
        assert Attempt(committed).get("scores") == {"a": 1, "b": 2}

    @pytest.mark.parametrize(
        ("first", "second", "left"),
        [
            (("a", 5), ("a.b", 1), {"a": {"b": 1}}),
            (("a.b", 1), ("a", 5), {"a": 5}),
            (("a", {}), ("a.b.c", 1), {"a": {"b": {"c": 1}}}),
            (("a.b.c", 1), ("a", {}), {"a": {}}),
            (("a.b", 1), ("a.b.c.d", 2), {"a": {"b": {"c": {"d": 2}}}}),
            (("a", {"x": 1}), ("a", {"y": 2}), {"a": {"x": 1, "y": 2}}),
            (("a", 1), ("a-b.c", 2), {"a": 1, "a-b": {"c": 2}}),
        ],
    )
    def test_of_attempts_that_disagree_the_later_wins(
        self, first: tuple[str, Any], second: tuple[str, Any], left: dict[str, Any]
    ) -> None:
        """A value never stands at a path and below it, in whatever order steps end."""
        committed = Overlay(MemoryState())
        attempts = [Attempt(committed), Attempt(committed)]
        for each, (path, value) in zip(attempts, (first, second), strict=True):
            each.set(path, value)
        for each in attempts:
            leaves.apply(committed, each.changes.changes, RUN)
        assert Attempt(committed).whole == left
        assert {name: Attempt(committed).get(name) for name in left} == left


class Model:
    """The same in a plain nested dictionary."""

    def __init__(self, whole: dict[str, Any]) -> None:
        self.whole = whole

    def get(self, path: str, default: Any) -> Any:
        value: Any = self.whole
        for part in path.split("."):
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            else:
                return default
        return value

    def set(self, path: str, value: Any) -> bool:
        """Return whether it can be set."""
        *way, last = path.split(".")
        changed = copy.deepcopy(self.whole)
        into: Any = changed
        for part in way:
            if isinstance(into, list) and part.isdigit() and int(part) < len(into):
                into = into[int(part)]
            elif isinstance(into, dict):
                into = into.setdefault(part, {})
            else:
                return False
        if isinstance(into, list) and last.isdigit() and int(last) < len(into):
            into[int(last)] = copy.deepcopy(value)
        elif isinstance(into, dict):
            into[last] = copy.deepcopy(value)
        else:
            return False
        self.whole = changed
        return True

    def delete(self, path: str) -> None:
        *way, last = path.split(".")
        into: Any = self.whole
        for part in way:
            into = into.get(part) if isinstance(into, dict) else None
        if isinstance(into, dict) and last in into:
            del into[last]
            if not into and way:
                self.delete(".".join(way))


PATHS = ["a", "b", "a.x", "a.y", "b.x", "a.x.p", "a.x.q", "b.x.p", "a.0", "a.x.0.p"]
VALUES = [0, None, "t", [], [1, {"p": 2}], {}, {"x": 1}, {"x": {"p": 1}, "y": {}}, {"p": [3]}]


@pytest.mark.parametrize("seed", range(40))
def test_any_history_is_that_of_a_plain_dictionary(seed: int) -> None:
    """Sets, deletes, commits and dropped attempts in any order leave what a dictionary would."""
    chance = random.Random(seed)
    committed, expected = MemoryState(), Model({})
    for _ in range(15):
        attempt, model = Attempt(committed), Model(copy.deepcopy(expected.whole))
        for _ in range(8):
            path = chance.choice(PATHS)
            if chance.random() < 0.7:
                value = chance.choice(VALUES)
                if model.set(path, value):
                    attempt.set(path, value)
                else:
                    with pytest.raises(ContextStateError):
                        attempt.set(path, value)
            else:
                model.delete(path)
                attempt.delete(path)
            assert attempt.whole == model.whole
            assert [attempt.get(each, "none") for each in PATHS] == [
                model.get(each, "none") for each in PATHS
            ]
        if chance.random() < 0.7:
            draft = Overlay(committed)
            leaves.apply(draft, attempt.changes.changes, RUN)
            committed.write(draft.changes)
            expected = model
        assert Attempt(committed).whole == expected.whole


class Counted(MemoryState):
    """Counts how often it is asked, and what it hands out."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.handed_out = 0

    def get(self, key: bytes) -> bytes | None:
        self.asked += 1
        return super().get(key)

    def items(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        self.asked += 1
        for entry in super().items(prefix):
            self.handed_out += 1
            yield entry


class Key(bytes):
    """A key that counts how often it is compared with a prefix."""

    compared = 0

    def startswith(self, *arguments: Any) -> bool:
        Key.compared += 1
        return super().startswith(*arguments)


class TestMany:
    """A step that sets thousands of values costs what they cost, and not their square."""

    COUNT = 16_000

    def test_each_set_asks_the_state_a_few_times(self) -> None:
        """Twice for a path of two parts, and nothing is handed out that is not below it."""
        state = Counted()
        attempt = Attempt(state)
        for number in range(self.COUNT):
            attempt.set(f"items.{number}", number)
        assert state.asked <= 3 * self.COUNT
        assert state.handed_out == 0
        assert len(attempt.whole["items"]) == self.COUNT

    def test_a_set_looks_at_few_of_the_other_changes(self) -> None:
        """Beyond a few they are sorted."""
        overlay = Overlay(MemoryState())
        Key.compared = 0
        for number in range(self.COUNT):
            overlay.delete_all(b"a\0%d." % number)
            overlay.put(Key(b"a\0%d" % number), b"")
        assert Key.compared <= 1_000

    def test_a_result_with_many_changes_reads_the_context_once(self) -> None:
        """And what is at a path above or below a new value goes, as with few changes."""
        state = Counted()
        state.write({RUN + b"a.b": b"1", RUN + b"c": b"2", RUN + b"k": b"3", b"other": b"4"})
        committed = Overlay(state)
        changes = {RUN + b"x.%d" % number: b"0" for number in range(self.COUNT)}
        changes |= {RUN + b"a": b"5", RUN + b"c.d": b"6"}
        leaves.apply(committed, changes, RUN)
        assert state.asked == 1
        gone = {RUN + b"a.b": None, RUN + b"c": None}
        assert dict(committed.changes) == changes | gone
