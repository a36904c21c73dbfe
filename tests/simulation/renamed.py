"""
Deployments within a history that rename every step of a workflow, and go back.

The steps of the later version say `formerly`. Steps sleep, are tried again, join and collect while
workers of both versions hand partitions to each other. No step may run twice for an event, and no
join may miss one, whoever wrote down what is waited for.
"""

import types
from dataclasses import replace
from random import Random

from fleet.workflow import definition, marking
from simulation.deploys import LAST, Deployment, Mix, Version
from simulation.flow import SimulatedFlow
from simulation.plan import Plan
from simulation.poisoned import BUSY_SECONDS

#: Share of the seeds.
SHARE = 0.03
#: The workflows whose steps are renamed.
KINDS = ("timed", "branched")


def later(kind: str) -> str:
    """Return the name of the later version of a workflow."""
    return f"renamed {kind}"


def renamed(flow: type[SimulatedFlow]) -> type[SimulatedFlow]:
    """Return a later version of *flow* in which each step has another name."""
    members: dict[str, object] = {}
    for step in definition.graph(flow).steps:
        members[step.name] = None
        members[f"{step.name}_again"] = _copy(step.function, step.name)
    made: type[SimulatedFlow] = types.new_class(
        f"Renamed{flow.__name__}",
        (flow,),
        {"workflow": "simulated"},
        lambda own: own.update(members),
    )
    return made


def _copy(function: object, formerly: str) -> types.FunctionType:
    assert isinstance(function, types.FunctionType)
    made = types.FunctionType(
        function.__code__,
        function.__globals__,
        f"{formerly}_again",
        function.__defaults__,
        function.__closure__,
    )
    made.__annotations__ = function.__annotations__
    options = replace(marking.options_of(function), formerly=(formerly,))
    setattr(made, marking._MARK, options)
    return made


def renaming(plan: Plan, *, damaged: bool) -> Plan:
    """Return the plan of a seed with deployments that rename its steps, if it has them.

    Not if its logs are *damaged*: as in `timed` and `branched`.
    """
    random = Random(f"renamed {plan.seed}")
    if damaged or plan.kind != "plain" or random.random() > SHARE:
        return plan
    busy = plan.compute.step > BUSY_SECONDS or plan.crowd is not None
    if plan.mix is not None or busy or any(run.raises for run in plan.runs):
        return plan
    kind = random.choice(KINDS)
    flows = [kind, later(kind)]
    times = sorted(random.uniform(3, 25) for _ in range(random.choice((1, 2, 3, 4))))
    deployments = [
        Deployment(
            at, Version(flows[number % 2 == 0]), random.choice((1, 2, 99)), random.uniform(0, 4)
        )
        for number, at in enumerate(times)
    ]
    last = Deployment(LAST, Version(random.choice(flows)), 99, random.uniform(0, 3))
    mix = Mix(Version(kind), (*deployments, last), hints=(), failing=frozenset(), removed=False)
    # See `branched`.
    longest, refusal = min(plan.longest, plan.slots * 0.1), plan.refusal / 5
    return replace(plan, kind=kind, mix=mix, longest=longest, refusal=refusal)
