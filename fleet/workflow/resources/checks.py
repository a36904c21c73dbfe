"""What can be wrong with the files that resources are read from, found before a step needs them."""

from collections.abc import Iterable, Iterator

from fleet.workflow.resources import providers
from fleet.workflow.resources.providers import Provider

#: A parameter of a step, and who makes its value.
Needed = tuple[str, Provider]


def findings(needed: Iterable[tuple[str, tuple[Needed, ...]]]) -> Iterator[str]:
    """Yield what is wrong with the files, given the needs of each step by its name."""
    for step, needs in needed:
        for parameter, provider in needs:
            for source in providers.configs(provider):
                for finding in source.findings():
                    yield f"parameter {parameter} of step {step}: {finding}"
