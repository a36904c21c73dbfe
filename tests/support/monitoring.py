"""Dashboards and rules as tests read them: expressions, and which metrics are asked for how."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

promql_parser = pytest.importorskip("promql_parser", reason="of the extra `lint`")
yaml = pytest.importorskip("yaml", reason="comes with yamllint, of the extra `lint`")

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "grafana"
_ROW = re.compile(r"^\| `(fleet_\w+)` \| (\w+) \|", re.MULTILINE)
_VARIABLE = re.compile(r"\$(\w+)")
#: What an expression can consist of, as promql_parser names it.
_PARTS = ("lhs", "rhs", "expr", "args", "vector_selector")


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression and where it stands."""

    place: str
    text: str


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric in an expression, and the functions around it, from the outside."""

    metric: str
    functions: tuple[str, ...]


def read(file: Path) -> Any:
    """Return what a YAML file says."""
    return yaml.safe_load(file.read_text())


@cache
def dashboards() -> dict[str, dict[str, Any]]:
    """Return the dashboards by their file names without ending."""
    files = sorted((GRAFANA / "dashboards").glob("*.json"))
    return {file.stem: json.loads(file.read_text()) for file in files}


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a dashboard's panels without its headings."""
    return [each for each in dashboard["panels"] if each["type"] != "row"]


def panel_expressions() -> list[Expression]:
    """Return the expressions of all panels, with Grafana's variables in them."""
    return [
        Expression(f"{name}: {panel['title']} {target['refId']}", target["expr"])
        for name, dashboard in dashboards().items()
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]


@cache
def rules() -> list[dict[str, Any]]:
    """Return all recording and alert rules."""
    files = sorted((GRAFANA / "rules").glob("*.yaml"))
    groups = (group for file in files for group in read(file)["groups"])
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Return the alert rules by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def rule_expressions() -> list[Expression]:
    """Return the expressions of all rules."""
    return [Expression(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]


def plain(text: str, values: Mapping[str, str]) -> str:
    """Return the expression with *values* instead of Grafana's variables; `.*` for all others."""
    return _VARIABLE.sub(lambda found: values.get(found[1], ".*"), text)


def selectors(text: str) -> list[Selector]:
    """Return the metrics of an expression without variables; raises ValueError if it is none."""
    return list(_selectors(promql_parser.parse(text), ()))


def _selectors(part: Any, functions: tuple[str, ...]) -> Iterator[Selector]:
    if isinstance(part, promql_parser.VectorSelector):
        yield Selector(part.name or "", functions)
    if isinstance(part, promql_parser.Call):
        functions = (*functions, part.func.name)
    for name in _PARTS:
        within = getattr(part, name, None)
        for each in within if isinstance(within, list) else [within]:
            if each is not None:
                yield from _selectors(each, functions)


@cache
def exported() -> dict[str, str]:
    """Return what type each series of ours has, by its name, as the tables of the docs say."""
    types: dict[str, str] = {}
    pages = "".join(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))
    for name, kind in _ROW.findall(pages):
        if kind == "histogram":
            types |= dict.fromkeys((f"{name}_{each}" for each in ("bucket", "sum", "count")), kind)
        else:
            types[name] = kind
    return types
