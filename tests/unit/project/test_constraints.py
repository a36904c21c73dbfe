"""constraints.txt pins what pyproject.toml asks for; `.ci/constraints` makes it."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
CONSTRAINTS = (ROOT / "constraints.txt").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def required() -> Iterator[Requirement]:
    """Yield what running, testing, developing and building the project needs."""
    project = PROJECT["project"]
    extras = (line for extra in project["optional-dependencies"].values() for line in extra)
    for line in (*project["dependencies"], *extras, *PROJECT["build-system"]["requires"]):
        requirement = Requirement(line)
        if requirement.name != project["name"]:
            yield requirement


def test_every_requirement_is_pinned_to_a_version_that_it_allows() -> None:
    """A change of pyproject.toml does not forget the constraints."""
    pins = dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", CONSTRAINTS, re.MULTILINE))
    unmet = [
        str(requirement)
        for requirement in required()
        if not requirement.specifier.contains(pins.get(canonicalize_name(requirement.name), "0"))
    ]
    assert unmet == []


def test_every_pin_has_a_hash_and_no_place_to_come_from() -> None:
    """Any index will do, and none can slip in something else."""
    pins = re.split(r"^(?=[a-z])", CONSTRAINTS, flags=re.MULTILINE)[1:]
    assert [pin for pin in pins if "--hash=sha256:" not in pin] == []
    assert not re.search(r"://|--index|--find-links| @ ", CONSTRAINTS)
