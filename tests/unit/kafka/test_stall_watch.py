"""A consumer that gets nothing any more is noticed, and no other."""

from aiokafka import TopicPartition

from fleet.kafka.topic_reader import StallWatch

A, B = TopicPartition("runs", 0), TopicPartition("runs", 1)


def test_who_is_behind_and_does_not_move_is_stalled() -> None:
    """At the second look: at the first one its records may be on their way."""
    watch = StallWatch()
    assert not watch.is_stalled({A: 3, B: 9}, {A: 5, B: 9})
    assert watch.is_stalled({A: 3, B: 9}, {A: 5, B: 9})


def test_who_moves_is_not_stalled() -> None:
    """However far behind it is."""
    watch = StallWatch()
    assert not any(watch.is_stalled({A: at}, {A: 1_000}) for at in range(5))


def test_who_is_at_the_end_is_not_stalled() -> None:
    """Nothing is there to be read."""
    watch = StallWatch()
    assert not any(watch.is_stalled({A: 5}, {A: 5}) for _ in range(3))


def test_a_new_consumer_is_given_time() -> None:
    """What was noticed of the one before does not count against it."""
    watch = StallWatch()
    found = [watch.is_stalled({A: 3}, {A: 5}) for _ in range(4)]
    assert found == [False, True, False, True]
