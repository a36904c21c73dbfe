"""Policies: what tenacity's conditions decide here, and what an error says about itself."""

import random
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from tenacity import (
    retry_if_exception_message,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    stop_before_delay,
    stop_never,
    wait_exponential,
    wait_fixed,
    wait_none,
    wait_random,
)

from fleet import (
    ConstantDelayRetryPolicy,
    ExponentialBackoffRetryPolicy,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowConfigurationError,
    retry_policy,
    step,
)
from fleet.config.settings import Retries, Settings
from fleet.records.envelope import MAX_TIMEOUT_SECONDS
from fleet.workflow import definition
from fleet.workflow.failing import retrying
from fleet.workflow.failing.retrying import Failures, RetryPolicy, delay

#: Tue, 14 Nov 2023 22:13:20 GMT.
NOW = 1_700_000_000.0


class Refused(Exception):
    """What a client raises, with what it says about another try."""

    def __init__(self, **told: Any) -> None:
        super().__init__("refused")
        vars(self).update(told)


def after(
    policy: RetryPolicy, attempts: int, error: BaseException | None = None, elapsed: float = 0.0
) -> float | None:
    failed = error if error is not None else ValueError("x")
    return delay(policy, Failures(failed, attempts, elapsed, NOW, seed=7))


def test_without_arguments_it_is_the_policy_of_llamaindex() -> None:
    assert [after(retry_policy(), n) for n in (1, 2, 3)] == [5, 5, None]


def test_waits_grow_as_tenacity_says() -> None:
    policy = retry_policy(wait=wait_exponential(multiplier=2, max=10), stop=stop_never)
    assert [after(policy, n) for n in (1, 2, 3, 4, 5)] == [2, 4, 8, 10, 10]


def test_conditions_combine() -> None:
    policy = retry_policy(
        retry=retry_if_exception_type(TimeoutError) | retry_if_exception_message(match="busy"),
        wait=wait_fixed(1) + wait_fixed(2),
        stop=stop_after_attempt(5) | stop_after_delay(60),
    )
    assert after(policy, 1, TimeoutError()) == 3
    assert after(policy, 1, ValueError("busy today")) == 3
    assert after(policy, 1, ValueError("wrong")) is None
    assert after(policy, 5, TimeoutError()) is None
    assert after(policy, 1, TimeoutError(), elapsed=61) is None


def test_a_stop_condition_sees_the_wait_that_would_follow() -> None:
    policy = retry_policy(wait=wait_fixed(10), stop=stop_before_delay(60))
    assert after(policy, 1, elapsed=49) == 10
    assert after(policy, 1, elapsed=51) is None


def test_jitter_is_that_of_the_seed_and_leaves_chance_alone() -> None:
    policy = retry_policy(wait=wait_random(0, 100), stop=stop_never)
    random.seed(1)
    expected = random.random()
    random.seed(1)
    first = after(policy, 1)
    assert random.random() == expected
    assert after(policy, 1) == first


def test_the_reference_policies_have_their_names() -> None:
    assert [after(ConstantDelayRetryPolicy(2, 7), n) for n in (1, 2)] == [7, None]
    grown = ExponentialBackoffRetryPolicy(4, 1, 3, 5, jitter=False)
    assert [after(grown, n) for n in (1, 2, 3, 4)] == [1, 3, 5, None]
    assert after(ExponentialBackoffRetryPolicy(), 1) is not None


def test_an_own_policy_is_an_object_with_next() -> None:
    class Old:
        def next(self, elapsed_time: float, attempts: int, error: Exception) -> float | None:
            return attempts * 2.0 if attempts < 3 else None

    assert [
        after(Old(), n)  # type: ignore[arg-type]
        for n in (1, 2, 3)
    ] == [2, 4, None]


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), GeneratorExit()])
def test_what_is_no_exception_is_not_tried_again(error: BaseException) -> None:
    assert after(retry_policy(), 1, error) is None


def test_an_error_may_be_permanent() -> None:
    assert after(retry_policy(), 1, Refused(permanent=True)) is None
    assert after(retry_policy(), 1, Refused(permanent="yes")) == 5


class Headers(dict[str, str]):
    """Case does not matter, as in httpx."""

    def get(self, name: str, default: Any = None) -> Any:
        return {key.lower(): value for key, value in self.items()}.get(name.lower(), default)


def response(**headers: str) -> SimpleNamespace:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return SimpleNamespace(status_code=429, headers=Headers(named))


@pytest.mark.parametrize(
    ("told", "wait"),
    [
        ({"retry_after": 90}, 90),
        ({"retry_after": "90"}, 90),
        ({"retry_after": timedelta(minutes=2)}, 120),
        ({"retry_after": 1}, 5),
        ({"retry_after": -5}, 5),
        ({"retry_after": True}, 5),
        ({"retry_after": float("nan")}, 5),
        ({"retry_after": float("inf")}, 5),
        ({"retry_after": 10**12}, MAX_TIMEOUT_SECONDS),
        ({"response": response(Retry_After="30")}, 30),
        ({"response": response(retry_after_ms="7500")}, 7.5),
        ({"response": response(retry_after="Tue, 14 Nov 2023 22:14:20 GMT")}, 60),
        ({"response": response(retry_after="Tue, 14 Nov 2023 22:00:00 GMT")}, 5),
        ({"response": response(retry_after="soon")}, 5),
        ({"response": response()}, 5),
        ({"response": 3}, 5),
    ],
)
def test_an_error_says_how_long_to_wait_at_least(told: dict[str, Any], wait: float) -> None:
    assert after(retry_policy(), 1, Refused(**told)) == wait


def test_what_an_error_asks_for_gives_up_no_attempt() -> None:
    assert after(retry_policy(wait=wait_none()), 3, Refused(retry_after=1)) is None


def test_attributes_that_raise_say_nothing() -> None:
    class Odd(Exception):
        @property
        def permanent(self) -> bool:
            raise RuntimeError

        @property
        def response(self) -> object:
            raise KeyError

    assert after(retry_policy(), 1, Odd()) == 5


@pytest.mark.parametrize("wrong", [5, "five", stop_after_attempt(3), object])
def test_what_is_no_policy_is_refused(wrong: Any) -> None:
    with pytest.raises(WorkflowConfigurationError, match=r"@step\(retry_policy=...\) takes a pol"):
        step(retry_policy=wrong)
    with pytest.raises(WorkflowConfigurationError, match=r"class Wrong\(retry_policy=...\) takes"):

        class Wrong(Workflow, retry_policy=wrong):
            pass


def test_what_is_no_condition_is_refused() -> None:
    with pytest.raises(WorkflowConfigurationError, match=r"retry_policy\(wait=...\) takes one of"):
        retry_policy(wait=5)  # type: ignore[arg-type]


class Plain(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent()


class Stated(Workflow, retry_policy=ConstantDelayRetryPolicy(9, 1)):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent()


class Heir(Stated):
    pass


def test_a_workflow_has_a_policy_from_its_class_or_the_settings() -> None:
    settings = Settings(retries={"plain": Retries(attempts=2), "*": Retries(attempts=4)})
    chosen = [definition.retry_policy(flow(), settings) for flow in (Plain, Stated, Heir)]
    assert [sum(after(one, n) is not None for n in range(1, 20)) for one in chosen if one] == [
        1,
        8,
        8,
    ]
    assert definition.retry_policy(Plain(), Settings(retries={})) is None


def test_the_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_RETRIES", '{"digest": {"attempts": 5, "wait_seconds": 0.5}}')
    stated = Settings().retries["digest"]
    assert (stated.attempts, stated.wait_seconds, stated.max_wait_seconds) == (5, 0.5, 60)
    assert isinstance(retrying.retry_policy(), RetryPolicy)
