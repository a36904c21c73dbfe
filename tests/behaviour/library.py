"""
One source, two libraries: a module written for Fleet is read again for the reference.

The reference is LlamaIndex Workflows. Only the import lines change: a line `from fleet import ...`
becomes imports of the same names from `workflows`, and `from tenacity import ...` imports of the
reference's own conditions. So one class has one behaviour to compare.
"""

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
REFERENCE, FLEET = "reference", "fleet"
LIBRARIES = [REFERENCE, FLEET]
#: The modules of the reference that have the public names of Fleet.
_HOMES = (
    "workflows",
    "workflows.events",
    "workflows.errors",
    "workflows.collect",
    "workflows.resource",
    "workflows.retry_policy",
)
_MODULES = ("fleet", "tenacity")


def is_installed() -> bool:
    """Tell whether the reference is installed."""
    return importlib.util.find_spec("workflows") is not None


@cache
def module(name: str, library: str) -> ModuleType:
    """Return the module *name* of this folder (`scenarios.routing`) as *library* runs it."""
    if library == FLEET:
        return importlib.import_module(f"behaviour.{name}")
    source = HERE.joinpath(*name.split(".")).with_suffix(".py")
    made = ModuleType(f"behaviour_reference.{name}")
    # Where annotations are resolved.
    sys.modules[made.__name__] = made
    made.__file__ = str(source)
    exec(compile(for_reference(source.read_text()), source, "exec"), vars(made))  # noqa: S102
    return made


def for_reference(source: str) -> str:
    """Return *source* with the import lines of the reference, on as many lines."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.module in _MODULES:
            imports = "; ".join(_imports(alias.name for alias in node.names))
            last = node.end_lineno or node.lineno
            lines[node.lineno - 1 : last] = [imports] + [""] * (last - node.lineno)
    return "\n".join(lines) + "\n"


def name(library: str, public: str) -> Any:
    """Return what a public name means in *library*."""
    home = "fleet" if library == FLEET else _home(public)
    return getattr(importlib.import_module(home), public)


def _imports(names: Iterator[str]) -> Iterator[str]:
    for public in names:
        yield f"from {_home(public)} import {public}"


def _home(public: str) -> str:
    for home in _HOMES:
        found = getattr(importlib.import_module(home), public, None)
        # `retry_policy` is a module there, too.
        if found is not None and not isinstance(found, ModuleType):
            return home
    raise LookupError(f"the reference has no {public}")
