"""docs/architecture.md shows the code as it is."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script that makes the picture."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    yield importlib.import_module("make_architecture")
    sys.modules.pop("make_architecture", None)


def test_the_picture_is_what_the_sources_say_now(generator: ModuleType) -> None:
    """After a change of rooms or imports run `python docs/make_architecture.py`."""
    assert generator.page(PAGE) == PAGE


def test_another_picture_would_be_noticed(generator: ModuleType) -> None:
    """An arrow that is no import is not in what the script makes."""
    other = PAGE.replace("    api --> host\n", "    host --> api\n")
    assert other != PAGE
    assert generator.page(other) == PAGE


def test_every_file_that_the_page_names_is_there() -> None:
    """The way of an event leads through files, not through memories of them."""
    named = re.findall(r"`(fleet/[\w/.]+)`", PAGE)
    assert len(named) > 30
    assert [each for each in named if not (ROOT / each).exists()] == []


def test_a_replays_way_is_short() -> None:
    """A stranger opens seven files to follow one."""
    way = PAGE[PAGE.index("## The way of a replay") :]
    assert len(set(re.findall(r"`(fleet/[\w/.]+)`", way))) == 7


def test_imports_of_type_checkers_are_no_arrows(generator: ModuleType, tmp_path: Path) -> None:
    """As in the contract; a public name of the package counts for the room that it is from."""
    sources = {
        "__init__": "from own.api import serve",
        "api": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import own.joke",
        "joke": "from own import serve",
    }
    for name, source in sources.items():
        (tmp_path / "own").mkdir(exist_ok=True)
        (tmp_path / "own" / f"{name}.py").write_text(source)
    found = generator.imports(tmp_path / "own", {"api", "joke"})
    assert found == {"api": set(), "joke": {"api"}}
