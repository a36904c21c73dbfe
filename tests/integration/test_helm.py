"""The Helm chart: what it renders is valid, and says what this version of Fleet does."""

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from click.testing import CliRunner

from fleet.cli import main
from fleet.config import settings as configuration
from fleet.config.settings import Settings
from fleet.host.exit import STOP_SECONDS

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "fleet"
SETS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").iterdir())
#: Said to helm, because one that was built with `go install` takes 1.20 for the cluster's.
KUBE = ("--kube-version", "1.33.0")
#: A folder of JSON schemas for kubeconform, one file per kind, custom resources included.
SCHEMAS = os.environ.get("FLEET_TEST_KUBE_SCHEMAS", "")
#: Stands in for the rule files while the chart has none.
RULES = """
groups:
  - name: example
    rules:
      - alert: Example
        expr: up == 0
        annotations: {summary: "{{ $labels.group }} is down"}
"""
#: Helm's own, for charts that carry this one.
GLOBAL = {"global"}


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name} on the PATH")
    return found


def said(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False)


def render(chart: Path, *words: str) -> str:
    """Return the manifests of *chart*, with more *words* for `helm template`."""
    ended = said(tool("helm"), "template", "prod", str(chart), *KUBE, *words)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def values(named: str) -> tuple[str, str]:
    return "--values", str(CHART / "ci" / f"{named}-values.yaml")


def write(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """Return a copy of the chart, with files to render where it has none yet."""
    copy = tmp_path / "fleet"
    shutil.copytree(CHART, copy)
    if not list(copy.glob("files/rules/*.yaml")):
        write(copy / "files" / "rules", "example.yaml", RULES)
    if not list(copy.glob("files/dashboards/*.json")):
        write(copy / "files" / "dashboards", "example.json", '{"title": "Example"}')
    return copy


# -- what the field's checkers say ----------------------------------------------------------------


def test_the_value_sets_are_those_that_were_promised() -> None:
    """One for each way to run the chart."""
    assert SETS == ["hpa", "keda", "minimal", "monitoring", "stateful"]


@pytest.mark.parametrize("named", SETS)
def test_helm_finds_nothing_to_complain_about(chart: Path, named: str) -> None:
    """Warnings included."""
    ended = said(tool("helm"), "lint", "--strict", str(chart), *KUBE, *values(named))
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("named", SETS)
def test_each_manifest_fits_its_schema(chart: Path, named: str, tmp_path: Path) -> None:
    """Strictly: a field that Kubernetes does not know is an error."""
    kubeconform = tool("kubeconform")
    if not SCHEMAS:
        pytest.skip("FLEET_TEST_KUBE_SCHEMAS names no folder of Kubernetes schemas")
    write(tmp_path, "rendered.yaml", render(chart, *values(named)))
    location = f"{SCHEMAS}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"
    words = ["-strict", "-summary", "-schema-location", location, str(tmp_path / "rendered.yaml")]
    ended = said(kubeconform, *words)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Valid: 0" not in ended.stdout


def test_the_charts_own_tests_pass() -> None:
    """Those in helm/fleet/tests, with what is refused."""
    ended = said(tool("helm-unittest"), str(CHART))
    assert ended.returncode == 0, ended.stdout


# -- values ---------------------------------------------------------------------------------------


def properties(schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the path and the schema of everything that has a name in *schema*."""
    for name, each in schema.get("properties", {}).items():
        _, _, reference = each.get("$ref", "").rpartition("/")
        found = definitions[reference] if reference else each
        yield name, found
        for path, below in properties(found, definitions):
            yield f"{name}.{path}", below


def paths(given: dict[str, Any], named: dict[str, Any]) -> Iterator[str]:
    """Yield the paths of *given*, not below those whose content is the user's."""
    for name, value in given.items():
        yield name
        if isinstance(value, dict) and named[name]:
            yield from (f"{name}.{path}" for path in paths(value, named[name]))


def tree(all_paths: list[str]) -> dict[str, Any]:
    grown: dict[str, Any] = {}
    for path in all_paths:
        branch = grown
        for name in path.split("."):
            branch = branch.setdefault(name, {})
    return grown


def described() -> dict[str, Any]:
    schema = json.loads((CHART / "values.schema.json").read_text())
    return dict(properties(schema, schema["definitions"]))


def defaults(chart: Path) -> dict[str, Any]:
    """Return values.yaml, as helm reads it."""
    shutil.rmtree(chart / "templates")
    write(chart / "templates", "values.yaml", "json: {{ toJson .Values }}")
    found = re.search(r"^json: (.*)$", render(chart), re.MULTILINE)
    assert found
    parsed: dict[str, Any] = json.loads(found[1])
    return parsed


def test_every_value_is_described() -> None:
    """In the schema, by which editors help."""
    assert [path for path, each in described().items() if not each.get("description")] == []


def test_every_value_that_the_schema_allows_has_its_default_in_the_values(chart: Path) -> None:
    """So values.yaml is the whole list; what it has beside would be refused by helm."""
    allowed = described()
    known = set(paths(defaults(chart), tree(list(allowed))))
    # A step group's image is over the release's, so it has none of its own.
    missing = {path for path in allowed.keys() - known if not path.startswith("defaults.image.")}
    assert missing == GLOBAL


# -- Fleet's own side -----------------------------------------------------------------------------


def variables(rendered: str) -> set[str]:
    return set(re.findall(r"- name: ((?:FLEET|OPENAI)_[A-Z_]+)$", rendered, re.MULTILINE))


def test_every_variable_of_the_chart_is_a_setting(chart: Path) -> None:
    """None is misspelt, and none has gone."""
    known = {configuration.variable(field) for field in Settings.model_fields}
    rendered = "".join(render(chart, *values(named)) for named in SETS)
    ours = {name for name in variables(rendered) if name.startswith("FLEET_")}
    assert {"FLEET_BROKER", "FLEET_INSTANCE_ID", "FLEET_SECURITY_PASSWORD"} <= ours <= known


def test_a_variable_that_the_chart_sets_cannot_be_set_again(chart: Path) -> None:
    """Kubernetes takes the last of two, and the pod would be made for the other."""
    rendered = "".join(render(chart, *values(named)) for named in SETS)
    for name in variables(rendered):
        again = ("--set-string", f"defaults.env.{name}=1")
        ended = said(tool("helm"), "template", str(chart), *KUBE, *values("minimal"), *again)
        assert f"{name}: the chart sets it; use " in ended.stderr


@pytest.mark.parametrize(
    ("value", "field"),
    [("protocol", "security_protocol"), ("mechanism", "security_mechanism")],
)
def test_a_choice_of_a_setting_is_the_charts(value: str, field: str) -> None:
    """Neither more nor fewer."""
    choices = described()[f"kafka.security.{value}"]["enum"]
    assert choices == list(get_args(Settings.model_fields[field].annotation))


def test_a_default_of_a_setting_is_the_charts(chart: Path) -> None:
    """What is not said is the same in Kubernetes and elsewhere."""
    given = defaults(chart)
    settings = Settings.model_construct()
    kafka, group = given["kafka"], given["defaults"]
    assert kafka["prefix"] == settings.prefix
    assert kafka["partitions"] == settings.partitions
    assert kafka["replication"] == settings.replication
    assert kafka["eventRetentionSeconds"] == settings.event_retention
    assert group["slots"] == settings.slots
    assert group["drainSeconds"] == settings.drain_seconds


@pytest.mark.parametrize("named", ["minimal", "stateful"])
def test_a_worker_ends_by_itself_before_it_is_killed(chart: Path, named: str) -> None:
    """The pod's grace is more than the drain and what a worker takes beside it."""
    rendered = render(chart, *values(named))
    grace = re.search(r"terminationGracePeriodSeconds: (\d+)", rendered)
    drain = re.search(r'FLEET_DRAIN_SECONDS\s+value: "(\d+)"', rendered)
    assert grace
    assert drain
    assert int(grace[1]) >= int(drain[1]) + STOP_SECONDS + 5


def of_pods(rendered: str) -> set[tuple[str, ...]]:
    """Return what the jobs and tests run, as words."""
    lists = re.findall(r"command:\n((?: +- .*\n)+?) +env:", rendered)
    return {tuple(re.findall(r"- (.*)\n", each)) for each in lists}


def of_notes() -> set[tuple[str, ...]]:
    """Return what the notes tell people to type, for the workflow `joke`."""
    notes = (CHART / "templates" / "NOTES.txt").read_text()
    shown = re.findall(r"-- (fleet .*)", re.sub(r"{{.*?}}", "joke", notes))
    return {tuple(shlex.split(each)) for each in shown}


def test_every_command_of_the_chart_can_be_typed(
    chart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the real command line."""
    monkeypatch.setattr(click.Command, "invoke", lambda *_: None)
    found = of_pods("".join(render(chart, *values(named)) for named in SETS)) | of_notes()
    assert ("fleet", "topics", "apply", "joke", "--yes") in found
    assert ("fleet", "run", "joke", "KEY=VALUE") in found
    assert ("fleet", "exporter") in {each[:2] for each in found}
    for _, *words in found:
        result = CliRunner().invoke(main.main, words)
        assert result.exit_code == 0, (words, result.output)


def test_the_chart_is_made_for_this_version() -> None:
    """An image without a tag is the one of the package that is released with it."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f'appVersion: "{version}"' in (CHART / "Chart.yaml").read_text().splitlines()


# -- rules and dashboards -------------------------------------------------------------------------


def test_rules_and_dashboards_are_rendered_as_they_are(chart: Path) -> None:
    """Braces in them are for Prometheus and Grafana, so helm must not read them."""
    write(chart / "files" / "rules", "my_rules.yaml", RULES)
    write(chart / "files" / "dashboards", "my_board.json", '{"title": "{{workflow}}"}\n')
    rendered = render(chart, *values("monitoring"))
    assert "name: prod-fleet-my-rules" in rendered
    assert "summary: '{{ $labels.group }} is down'" in rendered
    assert "name: prod-fleet-dashboard-my-board" in rendered
    assert '  my_board.json: |\n    {"title": "{{workflow}}"}' in rendered


@pytest.mark.parametrize(
    ("folder", "value"), [("rules", "prometheusRule"), ("dashboards", "dashboards")]
)
def test_what_is_wanted_and_not_in_the_chart_is_refused(
    chart: Path, folder: str, value: str
) -> None:
    """An install that silently has no alerts would be found out too late."""
    shutil.rmtree(chart / "files" / folder)
    wanted = ("--set", f"monitoring.{value}.enabled=true")
    ended = said(tool("helm"), "template", str(chart), *KUBE, *values("minimal"), *wanted)
    assert ended.returncode != 0
    assert f"monitoring.{value} is enabled, but this chart was packaged without" in ended.stderr


def test_jobs_have_the_names_that_they_have_everywhere(chart: Path) -> None:
    """Rules and dashboards know the workers and the exporter by them, in Compose as well."""
    elsewhere = re.findall(r"job_name: (\S+)", (ROOT / "grafana" / "prometheus.yml").read_text())
    named = re.findall(
        r"targetLabel: job, replacement: ([^}\s]+)", render(chart, *values("monitoring"))
    )
    assert sorted(named) == sorted(elsewhere) == ["fleet", "fleet-exporter"]


def test_a_rule_file_without_groups_is_refused(chart: Path) -> None:
    """It would become an object without rules."""
    write(chart / "files" / "rules", "empty.yaml", "rules: []\n")
    ended = said(tool("helm"), "template", str(chart), *KUBE, *values("monitoring"))
    assert "files/rules/empty.yaml is no file of Prometheus rules" in ended.stderr


def test_checks_of_the_chart_are_not_in_the_package(chart: Path, tmp_path: Path) -> None:
    """Values of tests and the tests themselves stay here; rules and dashboards go along."""
    ended = said(tool("helm"), "package", str(chart), "--destination", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    listed = said("tar", "-tzf", str(next(tmp_path.glob("fleet-*.tgz")))).stdout.splitlines()
    assert not [path for path in listed if re.match(r"fleet/(ci|tests)/", path)]
    assert [path for path in listed if path.startswith("fleet/files/rules/")]
    assert "fleet/templates/tests/topics.yaml" in listed
