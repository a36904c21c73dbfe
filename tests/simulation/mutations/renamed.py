"""The guards of steps that were renamed."""

from dataclasses import replace
from functools import cache
from typing import Any

from fleet.workflow import definition
from fleet.workflow.graph import Graph
from simulation.mutations.registry import instead_of


@instead_of(definition, "graph_in_use", near=132)
def _a_renamed_step_has_its_new_name_in_the_log(workflow: Any) -> Graph:
    return _with_new_names(workflow)


_graph_in_use = definition.graph_in_use


@cache
def _with_new_names(workflow: Any) -> Graph:
    graph = _graph_in_use(workflow)
    return replace(
        graph, steps=tuple(replace(step, name=step.shown, renamed="") for step in graph.steps)
    )
