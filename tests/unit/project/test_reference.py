"""docs/reference.md says what the sources say."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import fleet
from fleet.config import settings
from fleet.records.errors import FleetError

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "reference.md").read_text()


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script that makes the page."""
    monkeypatch.syspath_prepend(DOCS)
    yield importlib.import_module("make_reference")
    for name in ("make_reference", "reference_api"):
        sys.modules.pop(name, None)


def test_the_page_is_what_the_sources_say_now() -> None:
    """After a change run `python docs/make_reference.py`; the environment has no part in it."""
    # In a process of its own: click remembers in a command how it was called first, and other
    # tests call commands without their group.
    program = "import sys, make_reference; sys.stdout.write(make_reference.page())"
    environment = {
        **os.environ,
        "PYTHONPATH": str(DOCS),
        "FLEET_PREFIX": "another-team",
        "XDG_STATE_HOME": "/nowhere",
        "COLUMNS": "40",
    }
    made = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout == PAGE


@pytest.mark.parametrize("name", fleet.__all__)
def test_every_public_name_is_described(name: str) -> None:
    """Under a heading, with words behind it."""
    public = getattr(fleet, name)
    if isinstance(public, type) and issubclass(public, FleetError):
        assert re.search(rf"^### `{name}`\n\n`fleet\.[\w.]+`, exit code \d", PAGE, re.MULTILINE)
    else:
        assert re.search(rf"^### `{name}`\n\n```text\n(.+\n)+```\n\n\w", PAGE, re.MULTILINE)


def test_every_row_of_the_tables_says_something() -> None:
    """A setting, metric, topic or header without a word helps no reader."""
    rows = re.findall(r"^\| .* \| *(.*?) *\|$", PAGE, re.MULTILINE)
    assert len(rows) > len(settings.Settings.model_fields)
    assert "" not in rows


def test_every_attribute_says_something() -> None:
    """The comment above it, or the property's docstring."""
    assert re.findall(r"^- `[^`]*`$", PAGE, re.MULTILINE) == []
