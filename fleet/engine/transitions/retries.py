"""Whether a step that failed is tried again: its policy decides, and the state remembers."""

import hashlib
from datetime import UTC, datetime

from fleet.engine.transitions.draft import Work
from fleet.engine.transitions.suspended import Tries
from fleet.engine.transitions.timed import Due
from fleet.workflow.failing import exceptions, retrying
from fleet.workflow.failing.retrying import Failures, RetryInfo, RetryPolicy


def next_try(
    policy: RetryPolicy, work: Work, error: BaseException, started_ms: int, now_ms: int
) -> Due | None:
    """Return when a step is tried again that began at *started_ms* and failed; None: not any more.

    Times are broker time, in unix milliseconds. Raises what the policy raises.
    """
    before = work.tries or Tries()
    first_ms = before.first_ms or started_ms
    failed = before.failed + 1
    elapsed = max(0, now_ms - first_ms) / 1000
    wait = retrying.delay(policy, Failures(error, failed, elapsed, now_ms / 1000, _seed(work)))
    if wait is None:
        return None
    failure = exceptions.describe(error).model_copy(update={"stack": ""})
    tries = before.model_copy(
        update={"failed": failed, "first_ms": first_ms, "failed_ms": now_ms, "failure": failure}
    )
    return Due(now_ms + round(wait * 1000), tries)


def info(work: Work, started_ms: float) -> RetryInfo:
    """Return what an attempt that began at *started_ms* may know of those before."""
    tries = work.tries
    if tries is None:
        return RetryInfo(0)
    failure = tries.failure
    revived = exceptions.revived(failure) if failure is not None else None
    return RetryInfo(
        retry_number=tries.failed,
        elapsed_seconds=max(0.0, started_ms - tries.first_ms) / 1000 if tries.first_ms else 0.0,
        last_exception=revived,
        last_failed_at=datetime.fromtimestamp(tries.failed_ms / 1000, UTC) if revived else None,
    )


def _seed(work: Work) -> int:
    """Return what jitter is drawn from: the same for the same run, step and attempt."""
    text = f"{work.envelope.run_id}:{work.step.name}:{work.attempt}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest())
