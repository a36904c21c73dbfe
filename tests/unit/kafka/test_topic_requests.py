"""Requests that create topics: no larger than a broker takes."""

from aiokafka.admin import NewTopic

from fleet.kafka import provision


def topic(name: str, partitions: int = 1, settings: int = 0) -> NewTopic:
    configs = {f"setting{number}": "x" for number in range(settings)}
    return NewTopic(name, partitions, 1, topic_configs=configs)


def test_a_few_topics_are_one_request() -> None:
    topics = [topic("a", 8, 5), topic("b", 8, 5)]
    assert list(provision._requests(topics)) == [topics]


def test_many_topics_are_several_requests_and_each_is_in_one() -> None:
    topics = [topic(f"t{number}", 8, 6) for number in range(2_000)]
    requests = list(provision._requests(topics))
    assert [one for request in requests for one in request] == topics
    assert max(len(request) for request in requests) * 15 <= provision._REQUEST_RECORDS


def test_a_topic_larger_than_that_is_a_request_of_its_own() -> None:
    topics = [topic("a"), topic("large", 9_000), topic("b")]
    assert [len(request) for request in provision._requests(topics)] == [1, 1, 1]


def test_nothing_is_no_request() -> None:
    assert list(provision._requests([])) == []
