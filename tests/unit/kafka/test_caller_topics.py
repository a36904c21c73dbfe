"""Topics that were deleted, or made again, under a caller."""

from fleet.kafka.calling.caller_topics import MISSING_LOOKS, CallerTopics, TopicGone, TopicReplaced
from fleet.kafka.topic_identity import UNKNOWN


def test_a_topic_that_was_made_again_is_said_once() -> None:
    """With both ids; afterwards the new one is the caller's."""
    topics = CallerTopics(["runs", "stream"])
    assert topics.compare({"runs": "a", "stream": "b"}) is None
    assert topics.compare({"runs": "a", "stream": "b"}) is None
    problem = topics.compare({"runs": "c", "stream": "b"})
    assert isinstance(problem, TopicReplaced)
    assert "runs was deleted and created again (it was a and is c)" in str(problem)
    assert topics.compare({"runs": "c", "stream": "b"}) is None


def test_a_broker_that_tells_no_id_says_nothing() -> None:
    """Before or after one that does, as while brokers are upgraded."""
    topics = CallerTopics(["runs"])
    for told in (UNKNOWN, "a", UNKNOWN, "a"):
        assert topics.compare({"runs": told}) is None
    assert isinstance(topics.compare({"runs": "b"}), TopicReplaced)


def test_a_topic_that_is_gone_is_said_after_some_looks() -> None:
    """Once; one that comes back as it was is fine."""
    topics = CallerTopics(["runs"])
    topics.compare({"runs": "a"})
    for _ in range(MISSING_LOOKS - 1):
        assert topics.compare({}) is None
    assert topics.compare({"runs": "a"}) is None
    found = [topics.compare({}) for _ in range(MISSING_LOOKS + 2)]
    assert [type(each) for each in found if each is not None] == [TopicGone]
