"""
docs/coming-from-llamaindex.md has every public name of the installed reference, and says the truth.

A comment above a table says what its rows are: `names` of modules, `members` of a class,
`parameters` of a function, `modules` with all of their names.
"""

import ast
import importlib
import importlib.metadata
import inspect
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tenacity
from pydantic import BaseModel

import fleet
import fleet.testing
from behaviour import differences, library, test_surface

PAGE = Path(__file__).parents[2] / "docs" / "coming-from-llamaindex.md"
NAME = re.compile(r"`(?:await )?([\w.]+)`")
TABLE = re.compile(r"^<!-- (\w+)(?:: ([\w., ]+))? -->\n\|.*\n\|[-|]+\n((?:\|.*\n)+)", re.MULTILINE)
SAME, DIFFERS, NOT_HERE = "same", "differs", "not here"
#: What a module assigns to a name of its own and no user imports.
OWN_TOOLS = {"TypeVar", "ParamSpec", "getLogger", "get_dispatcher"}
#: The modules that need no other package.
IMPORTABLE = {
    "workflows",
    "workflows.collect",
    "workflows.decorators",
    "workflows.errors",
    "workflows.events",
    "workflows.handler",
    "workflows.resource",
    "workflows.retry_policy",
    "workflows.testing.runner",
}
#: A call of the handler itself, and what an instance has.
OF_AN_INSTANCE = {"WorkflowHandler": {"handler", "run_id"}}
#: pydantic has members of this name, too.
NAMED_AS_PYDANTIC = {"Workflow": {"validate"}}

pytestmark = pytest.mark.skipif(
    not library.is_installed(), reason="llama-index-workflows is not installed"
)


@dataclass(frozen=True)
class Row:
    """A row: its names, its second cell, and all of its text."""

    names: tuple[str, ...]
    status: str
    text: str


@dataclass(frozen=True)
class Table:
    """A table: what its rows are, of what."""

    kind: str
    of: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def names(self) -> list[str]:
        return [name for row in self.rows for name in row.names]

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if name in row.names)


@cache
def tables() -> tuple[Table, ...]:
    return tuple(
        Table(kind, tuple(filter(None, of.split(", "))), tuple(map(_row, rows.splitlines())))
        for kind, of, rows in TABLE.findall(PAGE.read_text())
    )


def _row(line: str) -> Row:
    first, second, _ = (cell.strip() for cell in line.strip("|").split("|", 2))
    return Row(tuple(NAME.findall(first)), second, line)


def of_kind(kind: str) -> list[Any]:
    return [pytest.param(t, id=", ".join(t.of)) for t in tables() if t.kind == kind]


# -- the names of modules -------------------------------------------------------------------------


def modules() -> dict[str, Path]:
    """Return the public modules of the reference, also those that need another package."""
    spec = importlib.util.find_spec("workflows")
    assert spec, "it is installed"
    assert spec.origin, "a package with a file"
    root = Path(spec.origin).parent
    found = {}
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            found[".".join(["workflows", *parts])] = file
    return found


def public(source: str) -> list[str]:
    """Return the public names of a module: those of `__all__`, else all that it defines."""
    names: list[str] = []
    for node in ast.parse(source).body:
        for name, value in _defined(node):
            if name == "__all__":
                listed: list[str] = ast.literal_eval(ast.unparse(value)) if value else []
                return listed
            if not name.startswith("_") and not _is_own_tool(value):
                names.append(name)
    return names


def _defined(node: ast.stmt) -> Iterator[tuple[str, ast.expr | None]]:
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name, None
        case ast.Assign(targets=targets, value=value):
            yield from ((each.id, value) for each in targets if isinstance(each, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name), value=value):
            yield name, value


def _is_own_tool(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func).split(".")[-1] in OWN_TOOLS


def test_the_page_is_about_the_installed_version() -> None:
    version = importlib.metadata.version("llama-index-workflows")
    assert f"in version {version}." in PAGE.read_text()


def test_every_module_of_the_reference_has_its_place() -> None:
    """In one table, or as a row of the inner modules; one that only defines nothing needs none."""
    listed = [of for table in tables() if table.kind == "names" for of in table.of]
    inner = [name for table in tables() if table.kind == "modules" for name in table.names]
    defining = {name for name, file in modules().items() if public(file.read_text())}

    assert sorted([*listed, *inner]) == sorted(defining)


@pytest.mark.parametrize("table", of_kind("names"))
def test_every_name_of_a_module_is_in_its_table(table: Table) -> None:
    theirs = {name for module in table.of for name in public(modules()[module].read_text())}

    assert sorted(table.names) == sorted(theirs)


def test_every_name_of_an_inner_module_is_in_its_row() -> None:
    (inner,) = (table for table in tables() if table.kind == "modules")
    for row in inner.rows:
        assert NAME.findall(row.status) == public(modules()[row.names[0]].read_text())


HOMES = [fleet, tenacity, fleet.testing]


@pytest.mark.parametrize("table", of_kind("names"))
def test_a_name_that_is_here_is_not_called_missing(table: Table) -> None:
    """Nor the other way round."""
    here = {name for home in HOMES for name in home.__all__}
    for row in table.rows:
        for name in row.names:
            assert (row.status != NOT_HERE) == (name in here), name


@pytest.mark.parametrize("table", of_kind("names"))
def test_a_name_from_another_package_says_so(table: Table) -> None:
    for row in table.rows:
        if row.status != NOT_HERE:
            for name in set(row.names) - set(fleet.__all__):
                home = "tenacity" if hasattr(tenacity, name) else "fleet.testing"
                assert f"from {home}" in row.text.replace("`", ""), name


def test_fields_of_events_are_in_their_rows() -> None:
    """Of those that are here."""
    events = importlib.import_module("workflows.events")
    (table,) = (table for table in tables() if table.of == ("workflows.events",))
    for row in table.rows:
        if row.status != NOT_HERE:
            for name in row.names:
                fields = set(getattr(events, name).model_fields)
                assert fields <= set(NAME.findall(row.text)), name
                assert fields <= set(getattr(fleet, name).model_fields), name


def test_a_condition_with_another_default_says_so() -> None:
    """tenacity's are not the reference's own: what a caller may leave out differs."""
    theirs = importlib.import_module("workflows.retry_policy")
    (table,) = (table for table in tables() if table.of == ("workflows.retry_policy",))
    for name in set(table.names) & set(tenacity.__all__):
        expected, found = (_defaults(getattr(home, name)) for home in (theirs, tenacity))
        for parameter in expected.keys() & found.keys():
            is_same = expected[parameter] == found[parameter] or expected[parameter] == math.inf
            assert is_same or f"`{parameter}=`" in table.row(name).text, (name, parameter)


def test_what_is_a_condition_itself_is_not_called_one() -> None:
    """`retry_always()` there is `retry_always` here."""
    theirs = importlib.import_module("workflows.retry_policy")
    (table,) = (table for table in tables() if table.of == ("workflows.retry_policy",))
    for name in set(table.names) & set(tenacity.__all__):
        makes = [inspect.isclass(getattr(home, name)) for home in (theirs, tenacity)]
        is_condition = makes == [True, False]
        assert is_condition == ("without parentheses" in table.row(name).text), name


# -- members and parameters -----------------------------------------------------------------------


def _theirs(name: str) -> Any:
    return test_surface._pairs()[name][0]


def _members(name: str) -> set[str]:
    own = {*dir(_theirs(name))} - test_surface._ANY_CLASS
    more = OF_AN_INSTANCE.get(name, set()) | NAMED_AS_PYDANTIC.get(name, set())
    state_type = {"state_type"} if name == "Store" else set()
    return {member for member in own if not member.startswith("_")} | more | state_type


@pytest.mark.parametrize("table", of_kind("members"))
def test_every_member_of_a_class_is_in_its_table(table: Table) -> None:
    assert sorted(table.names) == sorted(_members(table.of[0]))


def test_every_class_that_is_compared_has_a_table() -> None:
    """An event's members are those of a StopEvent."""
    listed = {table.of[0] for table in tables() if table.kind == "members"}
    assert listed == set(test_surface._pairs()) - {"StopEvent"}


@pytest.mark.parametrize("table", of_kind("members"))
def test_a_member_that_is_here_is_not_called_missing(table: Table) -> None:
    """What is missing is what the surface's test finds missing."""
    missing = {
        name.rpartition(".")[2] for name in differences.MEMBERS if name.startswith(table.of[0])
    }
    called = {name for row in table.rows if row.status == NOT_HERE for name in row.names}

    assert called - {"state_type"} == missing


@pytest.mark.parametrize("table", of_kind("parameters"))
def test_every_parameter_is_in_its_table(table: Table) -> None:
    (name,) = table.of
    theirs = _theirs(name).__init__ if name == "Workflow" else library.name("reference", name)
    ours = fleet.Workflow.__init__ if name == "Workflow" else getattr(fleet, name)

    assert sorted(table.names) == sorted(test_surface._named(theirs))
    for row in table.rows:
        is_here = set(row.names) <= test_surface._named(ours) or "by position" in row.text
        assert (row.status != NOT_HERE) == is_here, row.names


@pytest.mark.parametrize("table", of_kind("members"))
def test_a_parameter_that_is_missing_is_in_the_row_of_its_function(table: Table) -> None:
    theirs, ours = test_surface._pairs()[table.of[0]]
    for row in table.rows:
        for name in row.names if row.status != NOT_HERE else ():
            missing = _parameters(theirs, name) - _parameters(ours, name)
            named = set(re.findall(r"`(\w+)=?`", row.text))
            assert missing <= named, (name, missing)


def _parameters(owner: Any, name: str) -> set[str]:
    return _named(getattr(owner, name, None))


@pytest.mark.parametrize("table", of_kind("names"))
def test_what_a_name_takes_and_has_is_here_or_in_its_row(table: Table) -> None:
    """Of functions and classes that have no table of their own: resources, conditions, runners."""
    homes = [importlib.import_module(module) for module in table.of if module in IMPORTABLE]
    own_tables = {each.of[0] for each in tables() if each.kind in ("members", "parameters")}
    for row in table.rows if homes else ():
        named = set(re.findall(r"`(\w+)=?`", row.text))
        for name in set(row.names) - own_tables if row.status != NOT_HERE else ():
            theirs, ours = _found(name, homes), _found(name, HOMES)
            assert set(_lacks(theirs, ours)) <= named, name


def _found(name: str, homes: list[Any]) -> Any:
    return next(getattr(home, name) for home in homes if hasattr(home, name))


def _lacks(theirs: Any, ours: Any) -> Iterator[str]:
    """Yield the parameters and the members that *theirs* has and *ours* has not."""
    if inspect.isclass(theirs) and issubclass(theirs, BaseModel | BaseException):
        return  # the fields of events have a test above, and errors take a text
    yield from _named(theirs) - _named(ours)
    if inspect.isclass(theirs) and inspect.isclass(ours):
        for name in {*dir(theirs)} - test_surface._ANY_CLASS:
            if not name.startswith("_"):
                yield from [] if hasattr(ours, name) else [name]
                yield from _parameters(theirs, name) - _parameters(ours, name)


def _named(function: Any) -> set[str]:
    return test_surface._named(function) if callable(function) else set()


@pytest.mark.parametrize("table", of_kind("members"))
def test_what_is_called_the_same_has_the_same_defaults(table: Table) -> None:
    """For numbers, texts, None and truth values."""
    theirs, ours = test_surface._pairs()[table.of[0]]
    for row in table.rows:
        for name in row.names if row.status == SAME else ():
            expected, found = (_defaults(getattr(each, name, None)) for each in (theirs, ours))
            shared = expected.keys() & found.keys()
            assert {key: found[key] for key in shared} == {key: expected[key] for key in shared}


@pytest.mark.parametrize("table", of_kind("parameters"))
def test_a_parameter_that_is_called_the_same_has_the_same_default(table: Table) -> None:
    (name,) = table.of
    expected = _defaults(library.name("reference", name))
    found = _defaults(getattr(fleet, name))
    for row in table.rows:
        for parameter in row.names if row.status == SAME else ():
            assert found.get(parameter) == expected.get(parameter), parameter


def _defaults(function: Any) -> dict[str, Any]:
    if not callable(function):
        return {}
    parameters = inspect.signature(function).parameters.values()
    plain = (int, float, str, bool, type(None))
    return {each.name: each.default for each in parameters if isinstance(each.default, plain)}


# -- what the tests above would notice ------------------------------------------------------------


def test_a_row_says_same_differs_or_not_here() -> None:
    for table in tables():
        if table.kind != "modules":
            for row in table.rows:
                assert row.names
                assert row.status in (SAME, DIFFERS, NOT_HERE), row.text


def test_a_difference_has_its_reason() -> None:
    for table in tables():
        for row in table.rows:
            *_, reason, _ = row.text.split("|")
            assert reason.strip() or row.status == SAME, row.text


def test_a_module_has_the_names_that_it_lists_or_defines() -> None:
    assert public("__all__ = ['a']\ndef b(): ...\n") == ["a"]
    assert public("class A: ...\nB: int = 1\n_c = 2\nT = TypeVar('T')\n") == ["A", "B"]
