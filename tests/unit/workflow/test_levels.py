"""Levels: which events are inside of a fan-out, and which join closes it."""

from declared_steps import A, B, C, Cat, step

from fleet import All, Collect, Event, StartEvent, StopEvent, Take
from fleet.workflow import levels
from fleet.workflow.steps import Step

ALL = Collect(All())


class D(Event):
    """A fourth."""


def closing(*steps: Step) -> dict[str, list[str]]:
    """Return the names of the joins that close each fan-out."""
    return {name: [join.name for join in joins] for name, joins in levels.joins_of(steps).items()}


SPLIT = step("split", [StartEvent], [], lists=[A])
JOIN_B = step("join", [B], [StopEvent], collect=ALL)


class TestJoinsOf:
    def test_a_join_takes_the_members_or_what_follows_from_them(self) -> None:
        """However many steps are in between, and whatever branches off."""
        work, more = step("work", [A], [B, C]), step("more", [C], [B])
        assert closing(SPLIT, work, more, JOIN_B) == {"split": ["join"]}

    def test_several_joins_close_one_fan_out(self) -> None:
        """Each takes its own part of the members."""
        work = step("work", [A], [B, C])
        other = step("other", [C], [], collect=Collect(Take(2)))
        assert closing(SPLIT, work, JOIN_B, other) == {"split": ["join", "other"]}

    def test_several_fan_outs_have_one_join(self) -> None:
        """Each closes for itself; the join begins once for each."""
        again = step("again", [C], [], lists=[A])
        work = step("work", [A], [B, C])
        assert closing(SPLIT, again, work, JOIN_B) == {"split": ["join"], "again": ["join"]}

    def test_a_fan_out_without_a_join_has_none(self) -> None:
        """Then it is as if the events had been sent one by one."""
        assert closing(SPLIT, step("work", [A], [StopEvent])) == {"split": []}

    def test_what_is_returned_alone_is_outside(self) -> None:
        """`-> list[A] | B`: the list is one level, and B is where its step is."""
        split = step("split", [StartEvent], [B], lists=[A])
        assert closing(split, step("work", [A], [C]), JOIN_B) == {"split": []}

    def test_a_subclass_is_a_member_if_the_join_says_so(self) -> None:
        """As in routing."""
        work = step("work", [A], [Cat])
        split = step("split", [StartEvent], [], lists=[A])
        exact = step("exact", [A], [], collect=ALL)
        any_a = step("any_a", [A], [], collect=ALL, accept_event_subclasses=True)
        inner = step("split", [StartEvent], [], lists=[Cat])
        assert closing(inner, exact, any_a) == {"split": ["any_a"]}
        assert closing(split, work, exact) == {"split": ["exact"]}


class TestNested:
    def test_the_outer_join_takes_what_the_inner_one_returns(self) -> None:
        """The members of the inner list are on a level of their own."""
        inner = step("inner", [A], [], lists=[B])
        close = step("close", [B], [C], collect=ALL)
        outer = step("outer", [C], [StopEvent], collect=ALL)
        steps = SPLIT, inner, close, outer
        assert closing(*steps) == {"split": ["outer"], "inner": ["close"]}
        assert levels.by_producer(steps) == {"split": {A, C}, "inner": {B}}
        assert levels.at(steps, [StartEvent]) == {StartEvent, StopEvent}

    def test_an_inner_fan_out_without_a_join_gives_nothing_back(self) -> None:
        """An outer join cannot wait for its members."""
        inner = step("inner", [A], [], lists=[B])
        outer = step("outer", [B], [StopEvent], collect=ALL)
        assert closing(SPLIT, inner, outer) == {"split": [], "inner": ["outer"]}

    def test_a_join_may_fan_out_again(self) -> None:
        """What comes back is what the join of its own list returns."""
        again = step("again", [A], [], lists=[B], collect=ALL)
        close = step("close", [B], [C], collect=ALL)
        end = step("end", [C], [StopEvent])
        assert closing(SPLIT, again, close, end) == {"split": ["again"], "again": ["close"]}
        assert levels.at((SPLIT, again, close, end), [StartEvent]) == {StartEvent, C, StopEvent}

    def test_a_fan_out_inside_of_itself_ends(self) -> None:
        """A loop from a member back to the fan-out opens a level of the same kind."""
        split = step("split", [StartEvent, D], [], lists=[A])
        work = step("work", [A], [B, D])
        assert closing(split, work, JOIN_B) == {"split": ["join"]}

    def test_a_join_that_feeds_its_own_fan_out_ends(self) -> None:
        """Rounds: fan out, join, judge, fan out again."""
        split = step("split", [StartEvent, C], [], lists=[A])
        close = step("close", [A], [B], collect=ALL)
        judge = step("judge", [B], [C, StopEvent])
        assert closing(split, close, judge) == {"split": ["close"]}
        assert levels.at((split, close, judge), [StartEvent]) == {StartEvent, B, C, StopEvent}
