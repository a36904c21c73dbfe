"""State: keys that cannot meet, and changes over what lies below them."""

import itertools
import random

import pytest

from fleet.records import state
from fleet.records.state import MemoryState, Overlay


def contents(view: state.View, prefix: bytes = b"") -> dict[bytes, bytes]:
    """Return what a view holds under *prefix*, in its order."""
    return dict(view.items(prefix))


def filled(**values: bytes) -> MemoryState:
    """Return a state with these values."""
    made = MemoryState()
    made.write({key.encode(): value for key, value in values.items()})
    return made


class TestKeys:
    def test_no_key_of_one_run_lies_under_a_prefix_of_another(self) -> None:
        """What is removed with a run is its own, whatever ids the others have."""
        ids = ["a", "ab", "a.b", "a b", "ä", "a\x01", "b"]
        for one, other in itertools.permutations(ids, 2):
            for prefix, key in [
                (state.context_prefix(one), state.context_prefix(other) + b"path"),
                (state.awaiting_prefix(one), state.awaiting_key(other, "event", "step")),
            ]:
                assert not key.startswith(prefix)

    def test_kinds_of_entries_do_not_meet(self) -> None:
        """Each kind of entry has a first letter of its own."""
        keys = [
            state.META,
            state.position_key("a"),
            state.run_key("a"),
            state.end_key("a"),
            state.context_prefix("a"),
            state.done_prefix("a", 1),
            state.awaiting_key("a", "b", "c"),
        ]
        assert len({key[:1] for key in keys}) == len(keys)

    def test_done_marks_of_one_event_are_its_own(self) -> None:
        """Offset 1 is no beginning of offset 10, and no topic of another."""
        mark = state.done_prefix("t", 10) + b"step"
        assert mark.startswith(state.done_prefix("t", 10))
        assert not mark.startswith(state.done_prefix("t", 1))
        assert not mark.startswith(state.done_prefix("", 10))

    def test_the_layout_does_not_change(self) -> None:
        """Keys are in changelogs that outlive this version."""
        assert state.position_key("t") == b"p\0t"
        assert state.run_key("r") == b"r\0r"
        assert state.end_key("r") == b"e\0r"
        assert state.context_prefix("r") == b"c\0r\0"
        assert state.done_prefix("t", 5) == b"d\0t\x005\0"
        assert state.awaiting_key("r", "e", "s") == b"k\0r\0e\0s"


class TestMemoryState:
    def test_it_holds_what_was_written(self) -> None:
        """A commit's changes set and remove."""
        made = filled(a=b"1", b=b"2")
        made.write({b"a": None, b"c": b"3", b"never": None})
        assert contents(made) == {b"b": b"2", b"c": b"3"}
        assert (made.get(b"b"), made.get(b"a")) == (b"2", None)
        assert len(made) == 2

    def test_entries_come_in_the_order_of_their_keys(self) -> None:
        """RocksDB has this order, so every state has."""
        made = filled(b=b"", a=b"", ab=b"", c=b"")
        assert list(contents(made)) == [b"a", b"ab", b"b", b"c"]

    def test_a_prefix_selects_what_begins_with_it(self) -> None:
        """Neither smaller keys nor larger ones are part of it."""
        made = filled(a=b"", ab=b"", abc=b"", b=b"")
        assert list(contents(made, b"ab")) == [b"ab", b"abc"]


class TestOverlay:
    def test_changes_hide_what_is_below(self) -> None:
        """Reads see the changed value, and nothing where it was removed."""
        over = Overlay(filled(a=b"1", b=b"2"))
        over.put(b"a", b"new")
        over.delete(b"b")
        over.put(b"c", b"3")
        assert [over.get(key) for key in (b"a", b"b", b"c", b"d")] == [b"new", None, b"3", None]
        assert contents(over) == {b"a": b"new", b"c": b"3"}

    def test_what_is_below_stays_as_it_is(self) -> None:
        """Other views see the changes only when they are committed."""
        below = filled(a=b"1")
        over = Overlay(below)
        over.put(b"a", b"new")
        over.delete_all(b"")
        assert contents(below) == {b"a": b"1"}

    def test_changes_below_show_through(self) -> None:
        """An overlay is a view and no copy."""
        below = filled(a=b"1")
        over = Overlay(below)
        below.write({b"b": b"2"})
        assert contents(over) == {b"a": b"1", b"b": b"2"}

    def test_delete_all_removes_a_prefix_and_no_more(self) -> None:
        """Changed and unchanged entries under the prefix are gone, others stay."""
        over = Overlay(filled(xa=b"1", xb=b"2", y=b"3"))
        over.put(b"xc", b"4")
        over.delete_all(b"x")
        assert contents(over) == {b"y": b"3"}

    @pytest.mark.parametrize("seed", range(20))
    def test_layers_are_what_one_dictionary_would_be(self, seed: int) -> None:
        """Any history of changes in three layers reads like the same history in a dictionary."""
        chance = random.Random(seed)
        keys = [bytes([first, second]) for first in b"abc" for second in b"xyz"]
        below = MemoryState()
        layers = [Overlay(below)]
        layers.append(Overlay(layers[-1]))
        layers.append(Overlay(layers[-1]))
        plain: dict[bytes, bytes] = {}
        for number, layer in enumerate(layers):
            for _ in range(12):
                key = chance.choice(keys)
                if chance.random() < 0.6:
                    layer.put(key, b"%d" % number)
                    plain[key] = b"%d" % number
                elif chance.random() < 0.8:
                    layer.delete(key)
                    plain.pop(key, None)
                else:
                    layer.delete_all(key[:1])
                    plain = {each: plain[each] for each in plain if each[:1] != key[:1]}
        top = layers[-1]
        for prefix in (b"", b"a", b"b", b"c", b"ax"):
            expected = {key: plain[key] for key in sorted(plain) if key.startswith(prefix)}
            assert contents(top, prefix) == expected
            assert list(contents(top, prefix)) == list(expected)
        assert {key: top.get(key) for key in keys} == {key: plain.get(key) for key in keys}

    @pytest.mark.parametrize("seed", range(5))
    def test_writing_the_layers_down_changes_nothing(self, seed: int) -> None:
        """Committing an overlay's changes gives the state that the overlay showed."""
        chance = random.Random(seed)
        below = filled(**dict.fromkeys("abcdef", b"0"))
        over = Overlay(below)
        for letter in "bdfgh":
            if chance.random() < 0.5:
                over.put(letter.encode(), b"1")
            else:
                over.delete(letter.encode())
        shown = contents(over)
        below.write(over.changes)
        assert contents(below) == shown
