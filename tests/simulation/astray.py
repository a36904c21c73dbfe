"""
Records that a client with another partitioner wrote: into a partition in which their run is not.

A share of the seeds has them; the plans of all others stay the same.
"""

from dataclasses import replace
from random import Random

from simulation.plan import Plan, RunPlan

#: Share of the seeds with several partitions.
SHARE = 0.15
#: See `outsider.poison`.
ASTRAY = "astray"


def astray(plan: Plan) -> Plan:
    """Return the plan of a seed with its misplaced starts, if it has any."""
    random = Random(f"astray {plan.seed}")
    if plan.partitions == 1 or plan.crowd is not None or random.random() >= SHARE:
        return plan
    return replace(plan, runs=tuple(_with_copy(random, run) for run in plan.runs))


def _with_copy(random: Random, run: RunPlan) -> RunPlan:
    at = run.calls[0].at + random.uniform(0.1, 6)
    return replace(run, poisoned_at=(*run.poisoned_at, (at, ASTRAY)))
