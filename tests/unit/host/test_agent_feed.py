"""What agents of a workflow topic have acknowledged, as the group's offset follows it."""

from typing import Any

import pytest
from faust.types import TP

from fleet.config.settings import Settings
from fleet.host.agents.feed import AgentFeed

EVENTS = TP("fleet.joke.JokeEvent", 0)


class Reader:
    """Stands where the feed reads: hands out nothing by itself."""

    async def read(self, *_: Any) -> None:
        """Return at once."""


@pytest.fixture
async def feed(monkeypatch: pytest.MonkeyPatch) -> AgentFeed:
    """A feed that starts at offset 4, without a broker."""

    async def hand(_: object) -> None:
        """Take a record and do nothing with it."""

    monkeypatch.setattr(AgentFeed, "_read", Reader.read)
    made = AgentFeed(lambda _, record: record, hand, lambda _: None)
    made.start(Settings(), {EVENTS: 4})
    return made


async def hand(feed: AgentFeed, *offsets: int) -> None:
    records = [type("Record", (), {"offset": offset})() for offset in offsets]
    await feed._hand_all(EVENTS, records)


async def test_nothing_is_acknowledged_before_it_is_handed_out(feed: AgentFeed) -> None:
    """The agents are where the group's offset was."""
    feed.acknowledge(EVENTS, 4)

    assert feed.limited(EVENTS, 100) == 4


async def test_a_slow_record_holds_the_offset(feed: AgentFeed) -> None:
    """What is acknowledged behind it counts as soon as it is acknowledged itself."""
    await hand(feed, 4, 5, 7)
    feed.acknowledge(EVENTS, 5)
    feed.acknowledge(EVENTS, 7)
    held = feed.limited(EVENTS, 100)
    feed.acknowledge(EVENTS, 4)

    assert (held, feed.limited(EVENTS, 100)) == (4, 8)


async def test_a_record_may_be_acknowledged_twice(feed: AgentFeed) -> None:
    """By a stream that was cut by a rebalance, and by its next delivery."""
    await hand(feed, 4, 5)
    feed.acknowledge(EVENTS, 4)
    feed.acknowledge(EVENTS, 4)

    assert feed.limited(EVENTS, 100) == 5


async def test_after_a_rebalance_the_agents_offset_is_unknown(feed: AgentFeed) -> None:
    """Until the feed starts again, no acknowledgement moves anything."""
    await hand(feed, 4)
    feed.forget()
    feed.acknowledge(EVENTS, 4)

    assert feed.limited(EVENTS, 100) is None


async def test_the_group_is_where_the_slower_of_both_is(feed: AgentFeed) -> None:
    """Tasks and agents go on independently, and neither takes the other past its own work."""
    await hand(feed, 4, 5, 6)
    feed.acknowledge(EVENTS, 4)

    assert [feed.limited(EVENTS, tasks) for tasks in (4, 9)] == [4, 5]
