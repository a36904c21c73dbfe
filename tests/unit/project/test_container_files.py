"""Dockerfile, compose file and their lint; whether they run is `integration/test_compose.py`."""

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

HAS_COMPOSE = shutil.which("docker") is not None and not (
    subprocess.run(["docker", "compose", "version"], check=False, capture_output=True).returncode
)
needs_compose = pytest.mark.skipif(not HAS_COMPOSE, reason="no docker compose is installed here")


def check(*command: str) -> None:
    """Run a linter in the project's folder; fail with what it says."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed here: it is of the extra `lint`")
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@cache
def composed() -> dict[str, Any]:
    """What docker compose makes of the file, with nothing set."""
    command = ["docker", "compose", "--profile", "cli", "config", "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_dockerfile_passes_hadolint() -> None:
    """Ours, as it is."""
    check("hadolint", "Dockerfile")


def test_yaml_files_pass_yamllint() -> None:
    """Compose file, Prometheus' configuration and rules, values of the chart."""
    check("yamllint", "--strict", ".")


def test_prometheus_takes_its_configuration() -> None:
    """The file that the compose file mounts."""
    check("promtool", "check", "config", "--syntax-only", "grafana/prometheus.yml")


@needs_compose
def test_all_that_listens_listens_on_this_machine_only() -> None:
    """No port is published on another interface."""
    ports = [port for each in composed()["services"].values() for port in each.get("ports", ())]
    assert len(ports) == 3
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


@needs_compose
def test_no_container_may_more_than_it_needs() -> None:
    """No capabilities, no new privileges, a memory limit; all but Kafka have a read-only root."""
    for name, service in composed()["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert int(service["mem_limit"]) > 0, name
        assert service.get("read_only") or name == "kafka", name


@needs_compose
def test_nothing_has_a_password() -> None:
    """No default one either: if you want logins, set them up."""
    variables = {
        variable: value
        for service in composed()["services"].values()
        for variable, value in (service.get("environment") or {}).items()
    }
    assert [each for each in variables if "PASSWORD" in each or "SECRET" in each] == []
    assert variables["OPENAI_API_KEY"] == ""


@needs_compose
def test_what_is_mounted_is_there() -> None:
    """A folder that is missing would be made by the engine, empty."""
    mounts = [
        Path(volume["source"])
        for service in composed()["services"].values()
        for volume in service.get("volumes", ())
        if volume["type"] == "bind"
    ]
    assert len(mounts) == 4
    assert [each for each in mounts if not each.exists()] == []


@needs_compose
def test_what_kafka_keeps_is_on_its_volume() -> None:
    """Else `docker compose down` would lose the topics and keep the state, their copy."""
    kafka = composed()["services"]["kafka"]
    kept = {volume["target"] for volume in kafka["volumes"]}
    assert kafka["environment"]["KAFKA_LOG_DIRS"] in kept
