"""Dashboards, rules and runbooks: what Grafana and Prometheus would only say on a bad night."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from monitoring import (
    GRAFANA,
    ROOT,
    Expression,
    alerts,
    dashboards,
    exported,
    panel_expressions,
    panels,
    plain,
    read,
    rule_expressions,
    rules,
    selectors,
)

#: Series that Prometheus and its Python client make, with their types.
OTHERS = {
    "up": "gauge",
    "ALERTS": "gauge",
    "process_cpu_seconds_total": "counter",
    "process_resident_memory_bytes": "gauge",
}
GRAFANAS = {"__rate_interval": "1m", "__range": "1h"}
OVER_TIME = {"rate", "increase"}
#: Why these ask for a counter itself.
BARE_COUNTERS = dict.fromkeys(
    ("FleetDeadLetters", "FleetRecordsLost"), "a counter that has just appeared has no increase yet"
)
EXPRESSIONS = panel_expressions() + rule_expressions()
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, dashboard in dashboards().items()
    for panel in panels(dashboard)
]
each_dashboard = pytest.mark.parametrize("dashboard", dashboards().values(), ids=dashboards())
each_panel = pytest.mark.parametrize("panel", PANELS)
each_expression = pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda each: each.place)
each_alert = pytest.mark.parametrize("alert", alerts().values(), ids=alerts())


@cache
def known() -> dict[str, str]:
    """Return the type of each series that an expression may ask for."""
    return exported() | OTHERS | {rule["record"]: "gauge" for rule in rules() if "record" in rule}


def sources(part: Any) -> list[Any]:
    """Return every data source that is named anywhere in *part*."""
    if isinstance(part, list):
        return [found for each in part for found in sources(each)]
    if not isinstance(part, dict):
        return []
    here = [part["datasource"]] if "datasource" in part else []
    return here + [found for each in part.values() for found in sources(each)]


# -- files ----------------------------------------------------------------------------------------

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("grafana_foundation_sdk") is None, reason="of the extra `lint`"
)


@needs_library
def test_what_is_made_is_committed() -> None:
    """Dashboards, and their copies and those of the rules in the chart: run grafana/make.py."""
    words = [sys.executable, str(GRAFANA / "make.py"), "--check"]
    looked = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (looked.returncode, looked.stdout, looked.stderr) == (0, "", "")


@needs_library
def test_a_forgotten_file_would_be_noticed(tmp_path: Path) -> None:
    """One that differs, one that is missing, one that is made no more."""
    copy = tmp_path / "grafana"
    shutil.copytree(GRAFANA, copy)
    shutil.copytree(ROOT / "helm" / "fleet" / "files", tmp_path / "helm" / "fleet" / "files")
    (copy / "dashboards" / "fleet-workflow.json").write_text("{}")
    (copy / "dashboards" / "old.json").write_text("{}")
    (tmp_path / "helm" / "fleet" / "files" / "rules" / "lag.yaml").unlink()
    words = [sys.executable, str(copy / "make.py"), "--check"]
    looked = subprocess.run(words, capture_output=True, text=True, check=False)
    assert looked.returncode == 1, looked.stderr
    assert looked.stdout.split() == [
        "grafana/dashboards/fleet-workflow.json",
        "grafana/dashboards/old.json",
        "helm/fleet/files/rules/lag.yaml",
    ]


def test_grafana_is_given_the_source_and_the_folder() -> None:
    """The provisioning files, as docker-compose.yml mounts them."""
    folder = GRAFANA / "provisioning"
    source = read(folder / "datasources" / "prometheus.yaml")
    provider = read(folder / "dashboards" / "fleet.yaml")
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    assert source["datasources"][0]["type"] == "prometheus"
    assert provider["providers"][0]["options"]["path"] == "/var/lib/grafana/dashboards"


# -- dashboards -----------------------------------------------------------------------------------


@each_dashboard
def test_every_query_goes_to_the_chosen_data_source(dashboard: dict[str, Any]) -> None:
    """The first variable chooses it; panels, their queries, variables and annotations use it."""
    first, *others = dashboard["templating"]["list"]
    assert (first["type"], first["query"]) == ("datasource", "prometheus")
    wanted = {"type": "prometheus", "uid": f"${{{first['name']}}}"}
    parts = [*panels(dashboard), *others, *dashboard["annotations"]["list"]]
    for part in parts:
        assert part["datasource"] == wanted
        assert all(found == wanted for found in sources(part))
    assert all(target["datasource"] for panel in panels(dashboard) for target in panel["targets"])


@each_dashboard
def test_variables_are_asked_for_again_with_each_time_range(dashboard: dict[str, Any]) -> None:
    """A step group that came today is there without a reload; each has a label."""
    for variable in dashboard["templating"]["list"][1:]:
        assert variable["type"] == "query"
        assert variable["refresh"] == 2
        assert variable["label"]


@each_dashboard
def test_no_variable_is_unknown_or_unused(dashboard: dict[str, Any]) -> None:
    """What expressions, links and other variables mention is there, and the other way round."""
    there = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard))) - GRAFANAS.keys()
    assert {name for name in used if not name.startswith("__")} == there


@each_dashboard
def test_panels_lie_beside_each_other(dashboard: dict[str, Any]) -> None:
    """None over another, none beyond the edge, each with a number of its own."""
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not taken & cells
        assert max(x for x, _ in cells) < 24
        taken |= cells
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_dashboards_lead_to_each_other() -> None:
    """By a common tag, with variables and time; links of series name a dashboard that is there."""
    names = {dashboard["uid"] for dashboard in dashboards().values()}
    assert names == set(dashboards())
    for dashboard in dashboards().values():
        (link,) = dashboard["links"]
        assert link["type"] == "dashboards"
        assert set(link["tags"]) <= set(dashboard["tags"])
        assert link["includeVars"]
        assert link["keepTime"]
        assert set(re.findall(r'"/d/([\w-]+)', json.dumps(dashboard))) <= names


@each_dashboard
def test_nothing_is_hidden_in_a_menu(dashboard: dict[str, Any]) -> None:
    """The library's default for links and annotations."""
    assert "inControlsMenu" not in json.dumps(dashboard)


@each_panel
def test_a_panel_says_what_it_answers(panel: dict[str, Any]) -> None:
    """Title, description as a question or a sentence, unit."""
    assert panel["title"]
    assert re.search(r"[.?]$", panel["description"])
    assert panel["fieldConfig"]["defaults"]["unit"]


@each_panel
def test_series_of_a_panel_can_be_told_apart(panel: dict[str, Any]) -> None:
    """Several queries have different legends."""
    legends = [target["legendFormat"] for target in panel["targets"]]
    assert len(set(legends)) == len(legends)


# -- expressions ----------------------------------------------------------------------------------


@each_expression
def test_an_expression_is_one(expression: Expression) -> None:
    """It parses, with values instead of variables, and asks for something."""
    assert selectors(plain(expression.text, GRAFANAS))


@each_expression
def test_every_metric_of_an_expression_is_exported(expression: Expression) -> None:
    """By workers or the exporter, as reference.md and lag.md list them, or recorded by a rule."""
    asked = {each.metric for each in selectors(plain(expression.text, GRAFANAS))}
    assert asked - known().keys() == set()


@each_expression
def test_a_counter_is_asked_for_its_rate(expression: Expression) -> None:
    """Its value only says how old the process is. And a gauge has no rate."""
    types = known()
    for each in selectors(plain(expression.text, GRAFANAS)):
        if types[each.metric] in ("counter", "histogram"):
            assert OVER_TIME & set(each.functions) or expression.place in BARE_COUNTERS
        else:
            assert not OVER_TIME & set(each.functions)


def test_exceptions_are_needed() -> None:
    """An alert that asks for no bare counter any more is to go from the list."""
    for name in BARE_COUNTERS:
        asked = selectors(alerts()[name]["expr"])
        bare = [each for each in asked if not OVER_TIME & set(each.functions)]
        assert [each for each in bare if known()[each.metric] == "counter"]


@pytest.mark.parametrize("expression", panel_expressions(), ids=lambda each: each.place)
def test_a_rate_is_over_grafanas_interval(expression: Expression) -> None:
    """Which is never less than four scrapes; only a number may be over the whole range."""
    ranges = set(re.findall(r"\[(.*?)\]", expression.text))
    assert ranges <= {"$__rate_interval", "$__range"}
    assert "rate(" not in expression.text or "$__range]" not in expression.text


# -- alerts ---------------------------------------------------------------------------------------


def test_the_alerts_are_those_that_were_promised() -> None:
    """Others rely on the names: docs, silences, routes."""
    assert set(alerts()) == {
        "FleetNoWorkers",
        "FleetLagGrowing",
        "FleetOldestEventStuck",
        "FleetDeadLetters",
        "FleetRecordsLost",
        "FleetRunsFailing",
        "FleetStepSlow",
        "FleetEventLoopBlocked",
        "FleetWorkerFlapping",
        "FleetExporterDown",
    }


@each_alert
def test_an_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    """Severity, words, a runbook that is there, a dashboard that is there with its variables."""
    assert alert["labels"]["severity"] in ("critical", "warning")
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert notes["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"
    assert (ROOT / notes["runbook_url"]).is_file()
    address = re.fullmatch(r"/d/([\w-]+)(?:\?(.*))?", notes["dashboard_url"])
    assert address
    chosen = set(re.findall(r"var-(\w+)=", address[2] or ""))
    variables = dashboards()[address[1]]["templating"]["list"]
    assert chosen <= {variable["name"] for variable in variables}


@each_alert
def test_a_runbook_says_what_it_means_how_to_look_how_to_mend_and_what_not_to_do(
    alert: dict[str, Any],
) -> None:
    """In this order, each with words and the second with a command or a panel."""
    text = (ROOT / alert["annotations"]["runbook_url"]).read_text()
    assert text.startswith(f"# {alert['alert']}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "What it means",
        "Look",
        "Fix",
        "Do not",
    ]
    assert re.search(r"^## .*\n+(#|$(?!\n))", text, re.MULTILINE) is None
    assert "fleet " in text


@each_alert
def test_the_page_says_how_soon_and_how_bad(alert: dict[str, Any]) -> None:
    """The table of docs/dashboards.md has the severity and the time of each."""
    page = (ROOT / "docs" / "dashboards.md").read_text()
    row = re.search(rf"^\| \[{alert['alert']}\].* \| (\w+) \| .* \| (.+) \|$", page, re.MULTILINE)
    assert row
    soon = alert.get("for", "at once").replace("m", " min")
    assert row.groups() == (alert["labels"]["severity"], soon)


def test_no_runbook_is_for_nothing() -> None:
    """Each belongs to an alert."""
    assert {path.stem for path in (ROOT / "docs" / "runbooks").iterdir()} == set(alerts())


@each_alert
def test_an_alert_was_seen_to_fire_and_to_be_quiet(alert: dict[str, Any]) -> None:
    """In cases of promtool: one test that has it fire, and one that never does."""
    file = GRAFANA / "rules" / "tests" / f"{alert['alert']}.yaml"
    cases = read(file)["tests"]
    asked = [case["alert_rule_test"] for case in cases]
    assert all(each["alertname"] == alert["alert"] for case in asked for each in case)
    fires = [any(each["exp_alerts"] for each in case) for case in asked]
    assert set(fires) == {True, False}


def test_prometheus_takes_the_rules_and_they_do_what_their_cases_say() -> None:
    """The rules' files are checked, and each alert fires and is quiet when it should."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool on the PATH")
    files = sorted(str(path) for path in (GRAFANA / "rules").glob("*.yaml"))
    cases = sorted(str(path) for path in (GRAFANA / "rules" / "tests").glob("*.yaml"))
    for words in (["check", "rules", *files], ["test", "rules", *cases]):
        ended = subprocess.run([promtool, *words], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
