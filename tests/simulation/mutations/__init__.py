"""The engine with one guard taken out at a time; a module per kind of guard."""

from simulation.mutations import (
    bounds,
    callers,
    clocks,
    context,
    engine,
    group,
    joins,
    loading,
    newer,
    poison,
    queued,
    recorded_calls,
    replaced,
    timed,
    values,
    wire,
)
from simulation.mutations.registry import Mutation, every, first_seed

__all__ = [
    "Mutation",
    "bounds",
    "callers",
    "clocks",
    "context",
    "engine",
    "every",
    "first_seed",
    "group",
    "joins",
    "loading",
    "newer",
    "poison",
    "queued",
    "recorded_calls",
    "replaced",
    "timed",
    "values",
    "wire",
]
