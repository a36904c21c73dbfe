"""
Retries: whether a step that failed is tried again, and when.

The conditions are tenacity's: `retry_if_*`, `wait_*` and `stop_*` of that library, which you import
from there and combine as there. Here they decide about one failure at a time and never wait: the
engine keeps the step in the state until the time has come.

An error may have a say. With `permanent = True` its step is not tried again. `retry_after`, in
seconds, and the Retry-After header of its `response` are the least that the step waits.
"""

import email.utils
import random
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from inspect import signature
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import tenacity
from tenacity import (
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_fixed,
    wait_random_exponential,
)

from fleet.records.envelope import MAX_TIMEOUT_SECONDS
from fleet.workflow.errors import BadOption

if TYPE_CHECKING:
    from collections.abc import Iterator

Condition = Callable[[RetryCallState], Any]

#: What `retry_policy()` does without arguments, as in LlamaIndex Workflows.
_WAIT_SECONDS, _ATTEMPTS = 5, 3


@runtime_checkable
class RetryPolicy(Protocol):
    """Decides about the failures of a step; any object with such a `next` is one."""

    def next(
        self, elapsed_time: float, attempts: int, error: Exception, *, seed: int | None = None
    ) -> float | None:
        """Return how many seconds to wait before the next attempt; None: try no more.

        *attempts* counts the failed ones, this one included. *elapsed_time* is in seconds, from
        the beginning of the first attempt to the failure of the last. *seed* is the same for the
        same run, step and attempt: a policy with jitter draws from it.
        """
        ...


@dataclass(frozen=True, slots=True)
class RetryInfo:
    """What `ctx.retry_info()` returns: the attempts of this step on this event before this one."""

    #: 0 for the first attempt, 1 for the first retry.
    retry_number: int
    #: Seconds since the first attempt began; 0 for that attempt itself.
    elapsed_seconds: float = 0.0
    #: Of the last failed attempt. It has no traceback: it may have failed in another process.
    last_exception: BaseException | None = None
    #: In UTC.
    last_failed_at: datetime | None = None


class _Policy(NamedTuple):
    """See `retry_policy`."""

    retry: Condition
    wait: Condition
    stop: Condition

    def next(
        self, elapsed_time: float, attempts: int, error: Exception, *, seed: int | None = None
    ) -> float | None:
        """See `RetryPolicy`."""
        # tenacity looks at these fields alone, and calls nothing of its own here.
        call = RetryCallState(tenacity.Retrying(), None, (), {})
        call.start_time, call.attempt_number = 0.0, attempts
        call.set_exception((type(error), error, error.__traceback__))
        call.outcome_timestamp = elapsed_time
        if not self.retry(call):
            return None
        with _seeded(seed):
            delay = float(self.wait(call))
        call.upcoming_sleep = delay
        return None if self.stop(call) else delay


def retry_policy(
    retry: Condition | None = None, wait: Condition | None = None, stop: Condition | None = None
) -> RetryPolicy:
    """Return a policy for `@step(retry_policy=...)` of tenacity's conditions.

    *retry* decides which errors are tried again (all), *wait* how long to wait before (5 seconds),
    *stop* when to give up (after 3 attempts). Jitter is drawn from run, step and attempt.
    """
    for name, condition in (("retry", retry), ("wait", wait), ("stop", stop)):
        if condition is not None and not callable(condition):
            raise BadOption(
                f"retry_policy({name}=...) takes one of tenacity's conditions, not {condition!r}; "
                f"write e.g. `{name}={_EXAMPLES[name]}`"
            )
    return _Policy(
        retry or retry_if_exception_type(Exception),
        wait or wait_fixed(_WAIT_SECONDS),
        stop or stop_after_attempt(_ATTEMPTS),
    )


_EXAMPLES = {
    "retry": "retry_if_exception_type(TimeoutError)",
    "wait": "wait_fixed(5)",
    "stop": "stop_after_attempt(3)",
}


def ConstantDelayRetryPolicy(maximum_attempts: int = 3, delay: float = 5) -> RetryPolicy:  # noqa: N802 - a name of LlamaIndex Workflows
    """Return a policy with one delay, in seconds, between attempts."""
    return retry_policy(wait=wait_fixed(delay), stop=stop_after_attempt(maximum_attempts))


def ExponentialBackoffRetryPolicy(  # noqa: N802 - a name of LlamaIndex Workflows
    maximum_attempts: int = 5,
    initial_delay: float = 1.0,
    multiplier: float = 2.0,
    max_delay: float = 60.0,
    *,
    jitter: bool = True,
) -> RetryPolicy:
    """Return a policy whose delays, in seconds, grow with each attempt."""
    kind = wait_random_exponential if jitter else wait_exponential
    wait = kind(multiplier=initial_delay, exp_base=multiplier, max=max_delay)
    return retry_policy(wait=wait, stop=stop_after_attempt(maximum_attempts))


class Failures(NamedTuple):
    """What a policy learns of the attempts of a step that failed."""

    error: BaseException
    #: How many, this one included.
    attempts: int
    #: Seconds since the first one began.
    elapsed: float
    #: Broker time, in unix seconds.
    now: float
    seed: int


def delay(policy: RetryPolicy, failures: Failures) -> float | None:
    """Return after how many seconds a step is tried again; None: not any more.

    Raises what the policy raises.
    """
    error = failures.error
    # Not isinstance, which asks the exception itself.
    if not issubclass(type(error), Exception) or _is_permanent(error):
        return None
    seeds = {"seed": failures.seed} if "seed" in signature(policy.next).parameters else {}
    wait = policy.next(failures.elapsed, failures.attempts, error, **seeds)  # type: ignore[arg-type]
    if wait is None:
        return None
    return min(max(float(wait), _asked_for(error, failures.now), 0.0), MAX_TIMEOUT_SECONDS)


def checked(policy: object, where: str) -> RetryPolicy | None:
    """Return a policy that was given as *where*; raise BadOption if it is none."""
    if policy is None or (isinstance(policy, RetryPolicy) and callable(policy.next)):
        return policy
    raise BadOption(
        f"{where} takes a policy, such as `retry_policy(stop=stop_after_attempt(5))`, or an object "
        f"with a method `next`, not {policy!r}"
    )


@contextmanager
def _seeded(seed: int | None) -> "Iterator[None]":
    """Let tenacity's jitter, which draws from the module `random`, draw from *seed*."""
    if seed is None:
        yield
        return
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


# -- what an error says ---------------------------------------------------------------------------


def _is_permanent(error: BaseException) -> bool:
    return _read(error, "permanent") is True


def _asked_for(error: BaseException, now: float) -> float:
    """Return for how many seconds an error asks its caller to wait; 0 if it does not."""
    own = _seconds(_read(error, "retry_after"))
    if own is not None:
        return own
    headers = _read(_read(error, "response"), "headers")
    found = 0.0
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = _header(headers, name)
        if value:
            seconds = _seconds(value)
            found = seconds * unit if seconds is not None else _until(value, now)
            break
    return found


def _header(headers: Any, name: str) -> str:
    try:
        value = headers.get(name) or headers.get(name.title())
    except Exception:  # noqa: BLE001 - the boundary: whatever a client puts there
        return ""
    return value if isinstance(value, str) else ""


def _seconds(value: object) -> float | None:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except ValueError:
        return None
    # Not a NaN.
    return seconds if 0 <= seconds < float("inf") else None


def _until(date: str, now: float) -> float:
    """Return the seconds until an HTTP date."""
    try:
        moment = email.utils.parsedate_to_datetime(date)
    except ValueError:
        return 0.0
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, aware.timestamp() - now)


def _read(thing: object, name: str) -> Any:
    try:
        return getattr(thing, name, None)
    except Exception:  # noqa: BLE001 - the boundary: an attribute may be code
        return None
