"""Each error says what happened and what to do, and has an address where that stands."""

import importlib
import pkgutil
from collections import Counter
from pathlib import Path

import pytest
from test_docs import anchors

import fleet
from fleet.records.errors import FleetError

ROOT = Path(__file__).parents[3]


def public_errors(base: type[FleetError] = FleetError) -> list[type[FleetError]]:
    """Return the errors of all rooms, from the base down."""
    below = [each for sub in base.__subclasses__() for each in public_errors(sub)]
    is_ours = base.__module__.startswith("fleet.") and not base.__name__.startswith("_")
    return list(dict.fromkeys([*([base] if is_ours else []), *below]))


@pytest.fixture(scope="module", autouse=True)
def every_room() -> None:
    for module in pkgutil.walk_packages(fleet.__path__, "fleet."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def paragraphs(error: type[FleetError]) -> list[str]:
    return [" ".join(each.split()) for each in (error.__doc__ or "").strip().split("\n\n")]


def test_each_error_says_what_happened_and_what_to_do() -> None:
    """In its docstring, from which the reference is made."""
    found = [error for error in public_errors() if error is not FleetError]
    assert len(found) > 100
    assert [e.__name__ for e in found if not paragraphs(e)[0].startswith("Raised ")] == []
    silent = [
        error.__name__
        for error in public_errors()
        if not any(each.startswith("What to do: ") for each in paragraphs(error))
    ]
    assert silent == []


def test_no_two_errors_have_one_name() -> None:
    """The name is the address, and what people search for."""
    counted = Counter(error.__name__.lower() for error in public_errors())
    assert [name for name, count in counted.items() if count > 1] == []


def test_each_address_leads_to_a_section() -> None:
    """A page of the repository, and a heading on it."""
    known = anchors(ROOT / "docs" / "reference.md")
    for error in public_errors():
        page, _, anchor = error.address.partition("#")
        assert (ROOT / page).is_file()
        assert anchor in known, error.__name__


def test_an_error_that_is_not_in_the_reference_has_the_address_of_its_base() -> None:
    """A user's own subclass, and a private one."""

    class Mine(fleet.WorkflowRuntimeError):
        pass

    assert Mine.address == "docs/reference.md#workflowruntimeerror"
    assert Mine("text").address == Mine.address
