"""Where the workflows are that steps run on Kafka: looked at before anything is sent there."""

from typing import Any

import pytest

from fleet import StartEvent, StopEvent, Workflow, step
from fleet.config.settings import Settings
from fleet.kafka import children, provision
from fleet.kafka.children import NotCarried, WorkflowsOnKafka
from fleet.kafka.clients import BrokerUnreachable
from fleet.kafka.provision import TopicsMissing
from fleet.workflow.calling.children import asked


class Inner(Workflow):
    @step
    async def go(self, ev: StartEvent) -> StopEvent:
        return StopEvent()


RUN = asked(Inner, None, {}, None)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the broker says of the topics, in turn."""
    given: list[Any] = []

    async def ensure(topics: Any, _graph: Any, _settings: Any) -> int:
        assert topics.inbox == "fleet.inner.inbox"
        answer = given.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return int(answer)

    monkeypatch.setattr(provision, "ensure", ensure)
    monkeypatch.setattr(children, "_RETRY_SECONDS", 0)
    return given


async def test_the_topics_are_looked_at_once_in_a_while(
    answers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers += [3, 5]
    there = WorkflowsOnKafka(Settings(), "fleet", None)
    assert await there.find(RUN) == ("fleet.inner", 3)
    assert await there.find(RUN) == ("fleet.inner", 3)
    monkeypatch.setattr(children, "_FRESH_SECONDS", -1)
    assert await there.find(RUN) == ("fleet.inner", 5)


async def test_missing_topics_are_an_error_in_the_step(answers: list[Any]) -> None:
    answers.append(TopicsMissing(["fleet.inner.runs"], "inner"))
    with pytest.raises(TopicsMissing, match="fleet topics apply"):
        await WorkflowsOnKafka(Settings(), "fleet", None).find(RUN)


async def test_a_broker_that_is_away_is_asked_again(answers: list[Any]) -> None:
    answers += [BrokerUnreachable(Settings(), OSError("away")), 2]
    assert await WorkflowsOnKafka(Settings(), "fleet", None).find(RUN) == ("fleet.inner", 2)


async def test_an_app_that_does_not_carry_the_workflow_says_what_to_write() -> None:
    there = WorkflowsOnKafka(Settings(), "embedded.app", lambda name: name == "outer")
    with pytest.raises(NotCarried, match=r"Inner\(app=app\)"):
        await there.find(RUN)
