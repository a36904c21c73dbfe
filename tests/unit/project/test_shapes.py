"""Sizes that keep a class something that one can hold in mind."""

import ast
from collections.abc import Iterator
from pathlib import Path

FLEET = Path(__file__).parents[3] / "fleet"
#: A class with more than so many public methods has more than one job.
PUBLIC_METHODS = 15


def classes(source: str) -> Iterator[tuple[str, int]]:
    """Yield each class of a module with the number of its public methods and properties."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            yield node.name, len(public_methods(node))


def public_methods(owner: ast.ClassDef) -> set[str]:
    """Return the names: a property counts once, with or without a setter."""
    functions = ast.FunctionDef, ast.AsyncFunctionDef
    names = {member.name for member in owner.body if isinstance(member, functions)}
    return {name for name in names if not name.startswith("_")}


def larger() -> set[str]:
    return {
        f"{file.relative_to(FLEET.parent)}: {name}"
        for file in FLEET.rglob("*.py")
        for name, methods in classes(file.read_text())
        if methods > PUBLIC_METHODS
    }


def test_no_class_has_too_many_public_methods() -> None:
    """It would be where every new feature lands."""
    assert larger() == set()


def test_a_class_with_one_method_too_many_would_be_noticed() -> None:
    """Asynchronous methods and properties count, private ones do not."""
    methods = "".join(f"    async def m{number}(self): ...\n" for number in range(PUBLIC_METHODS))
    read = "    @property\n    def value(self): ...\n"
    written = "    @value.setter\n    def value(self, new): ...\n"
    source = f"class Large:\n{methods}{read}{written}    def _private(self): ...\n"

    assert list(classes(source)) == [("Large", PUBLIC_METHODS + 1)]
