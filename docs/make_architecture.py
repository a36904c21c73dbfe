"""
Draws the picture in docs/architecture.md: the rooms of the code, in the layers that pyproject.toml
has, with the imports that are really there. A test fails if it was forgotten.

    python docs/make_architecture.py
"""  # noqa: INP001 - a script, no package

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
_CONTRACT = "Imports go one way"
_BEGIN, _END = "<!-- begin: make_architecture.py -->", "<!-- end: make_architecture.py -->"
_BLOCK = re.compile(f"{_BEGIN}.*?{_END}", re.DOTALL)

#: What each room imports.
Imports = dict[str, set[str]]


def layers(project: Path) -> list[list[str]]:
    """Return the rooms of the layers contract, the uppermost layer first."""
    contracts = tomllib.loads(project.read_text())["tool"]["importlinter"]["contracts"]
    (found,) = (each["layers"] for each in contracts if each["name"] == _CONTRACT)
    return [re.split(r" [|:] ", layer) for layer in found]


def imports(package: Path, rooms: set[str]) -> Imports:
    """Return which rooms the files of each room import."""
    return {room: (_imported(package, room) & rooms) - {room} for room in rooms}


def _imported(package: Path, room: str) -> set[str]:
    homes = _homes(package)
    sources = [*package.glob(f"{room}.py"), *package.joinpath(room).rglob("*.py")]
    names = (name for each in sources for name in _names(ast.parse(each.read_bytes())))
    parts = (homes.get(name, name).split(".") for name in names)
    return {each[1] for each in parts if each[0] == package.name and len(each) > 1}


def _homes(package: Path) -> dict[str, str]:
    """Return what the package's public names stand for: `fleet.serve` is of the room `api`."""
    nodes = ast.walk(ast.parse((package / "__init__.py").read_bytes()))
    found = [name for node in nodes if isinstance(node, ast.ImportFrom) for name in _names(node)]
    return {f"{package.name}.{name.rpartition('.')[2]}": name for name in found}


def _names(node: ast.AST) -> Iterator[str]:
    """Yield what is imported below *node*, as `fleet.kafka.clients.Clients`."""
    if isinstance(node, ast.Import):
        yield from (each.name for each in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{each.name}" for each in node.names)
    for below in _at_run_time(node):
        yield from _names(below)


def _at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of *node*, without what only type checkers see: the contract has none."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        yield from node.orelse
    else:
        yield from ast.iter_child_nodes(node)


def reduced(found: Imports) -> Imports:
    """Leave out what is imported by a room in between, too: the picture stays readable."""
    return {
        room: below - {each for other in below for each in _reached(found, other)}
        for room, below in found.items()
    }


def _reached(found: Imports, room: str) -> set[str]:
    """Return the rooms below *room*; it ends, because imports go one way."""
    below = found[room]
    return below.union(*(_reached(found, each) for each in below))


def picture(layered: list[list[str]], found: Imports) -> str:
    """Return the Mermaid diagram."""
    lines = ["flowchart TB"]
    for number, rooms in enumerate(layered):
        lines += [f'    subgraph layer{number}[" "]', "        direction LR"]
        lines += [*(f"        {room}" for room in rooms), "    end"]
    shown = reduced(found)
    order = [room for rooms in layered for room in rooms]
    lines += [f"    {room} --> {each}" for room in order for each in order if each in shown[room]]
    return "\n".join(lines)


def page(text: str) -> str:
    """Return the page *text* with the picture of the sources as they are now."""
    layered = layers(ROOT / "pyproject.toml")
    found = imports(ROOT / "fleet", {room for rooms in layered for room in rooms})
    block = f"{_BEGIN}\n```mermaid\n{picture(layered, found)}\n```\n{_END}"
    return _BLOCK.sub(lambda _: block, text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} written\n")
