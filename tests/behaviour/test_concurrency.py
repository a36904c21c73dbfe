"""How many attempts run at once."""

import asyncio
from uuid import uuid4

import pytest

from behaviour import gates
from behaviour.runtimes import Runtime


@pytest.mark.parametrize(("flow", "workers"), [("TwoAtOnce", 2), ("FourByDefault", 4)])
async def test_a_step_has_so_many_attempts_at_once(
    runtime: Runtime, flow: str, workers: int
) -> None:
    """Not more and not less, and the others wait."""
    key = uuid4().hex
    seen = await runtime.run(f"scenarios.concurrency.{flow}", key=key)

    assert (seen.result, seen.raised) == (7, "")
    assert gates.most(key) == workers


async def test_each_step_has_attempts_of_its_own(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.concurrency.ByStep", key=uuid4().hex)

    assert (seen.result, seen.raised) == (6, "")


async def test_each_run_has_attempts_of_its_own(runtime: Runtime) -> None:
    key = uuid4().hex
    flow = runtime.flow("scenarios.concurrency.ByRun")
    runs = [flow.run(key=key, n=n) for n in range(3)]

    assert await asyncio.gather(*runs) == [0, 1, 2]


async def test_waiting_events_are_taken_first_come_first_served(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.concurrency.QueueUp", key=uuid4().hex)

    assert (seen.result, seen.raised) == (list(range(10)), "")


async def test_num_concurrent_runs_bounds_the_runs(runtime: Runtime) -> None:
    """The others wait for their turn, and all end."""
    key = uuid4().hex
    flow = runtime.flow("scenarios.concurrency.OneRun")
    runs = [flow.run(key=key, n=n) for n in range(5)]

    assert await asyncio.gather(*runs) == [0, 1, 2, 3, 4]
    assert gates.most(key) == 1


async def test_runs_are_not_bounded_by_default(runtime: Runtime) -> None:
    key = uuid4().hex
    flow = runtime.flow("scenarios.concurrency.AnyRuns")
    runs = [flow.run(key=key, n=n) for n in range(4)]

    assert await asyncio.gather(*runs) == [0, 1, 2, 3]
    assert gates.most(key) == 4
