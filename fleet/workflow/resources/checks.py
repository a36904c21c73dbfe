"""What can be wrong with the files that resources are read from, found before a step needs them."""

from collections.abc import Container, Hashable, Iterable, Iterator

from fleet.workflow.resources import providers
from fleet.workflow.resources.providers import Provider

#: A parameter of a step, and who makes its value.
Needed = tuple[str, Provider]


def findings(
    needed: Iterable[tuple[str, tuple[Needed, ...]]], given: Container[Hashable] = ()
) -> Iterator[str]:
    """Yield what is wrong with the files, given the needs of each step by its name.

    What the workflow is *given* is not read.
    """
    for step, needs in needed:
        for parameter, needed_one in needs:
            for provider in providers.every(needed_one, without=given):
                for finding in provider.config.findings() if provider.config else ():
                    yield f"parameter {parameter} of step {step}: {finding}"
