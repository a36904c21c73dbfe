"""Plans at random: fan-outs three deep, empty, ended by None, bare, and taken from."""

from behaviour.runtimes import Runtime

#: A run takes longest on Kafka.
SEEDS = {"reference": range(15), "memory": range(15), "kafka": range(3)}


async def test_what_comes_of_a_plan_is_what_it_says(runtime: Runtime) -> None:
    """The result, and a join for each list."""
    module = runtime.module("scenarios.planned")
    for seed in SEEDS[runtime.name]:
        plan = module.a_plan(seed)

        seen = await runtime.run("scenarios.planned.Planned", chapters=plan)

        assert (seen.result, seen.raised) == (module.comes_to(plan), ""), (seed, plan)
        chapters = sum(isinstance(each, list) for each in plan)
        assert seen.notes.count("chapter") == chapters, (seed, plan)
        assert seen.notes.count("book") == 1, (seed, plan)
