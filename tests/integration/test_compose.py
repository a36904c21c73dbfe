"""The compose file as a user starts it, where an engine and the images are."""

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = (
    "python:3.12",
    "python:3.12-slim",
    "apache/kafka:4.1.0",
    "prom/prometheus:v3.5.0",
    "grafana/grafana:12.2.0",
)


def docker(*arguments: str, seconds: float = 60) -> str:
    done = subprocess.run(
        ["docker", *arguments],
        check=False,
        cwd=ROOT,
        env={**os.environ, "FLEET_PREFIX": "composed"},
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def composed() -> Iterator[None]:
    """All services, healthy; the tests do not pull images."""
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed here")
    try:
        docker("compose", "version", seconds=10)
        docker("image", "inspect", *IMAGES, seconds=20)
    except (AssertionError, subprocess.TimeoutExpired) as missing:
        pytest.skip(f"no engine with compose and the images: {str(missing).strip()[:200]}")
    project = ("compose", "--project-name", "fleet-test", "--profile", "cli")
    try:
        docker(*project, "build", seconds=400)
        docker(
            *project, "up", "--detach", "--wait", "worker", "exporter", "prometheus", seconds=240
        )
        yield
    finally:
        docker(*project, "down", "--volumes", "--remove-orphans", seconds=120)


@pytest.mark.timeout(900)
def test_a_run_from_the_command_line_of_the_readme(composed: None) -> None:
    """`docker compose run --rm cli run joke topic=pirates`, and Prometheus sees the worker."""
    run = ("compose", "--project-name", "fleet-test", "run", "--rm", "cli")
    assert "pirates" in docker(*run, "run", "joke", "topic=pirates", seconds=120)
    lag = json.loads(docker(*run, "lag", "--json"))
    assert [group["workflow"] for group in lag] == ["joke"]
    with urllib.request.urlopen("http://127.0.0.1:9090/api/v1/targets") as answer:
        targets = json.loads(answer.read())["data"]["activeTargets"]
    assert {each["labels"]["job"] for each in targets} == {"fleet", "fleet-exporter"}


@pytest.mark.timeout(120)
def test_a_stopped_worker_ends_by_itself(composed: None) -> None:
    """SIGTERM reaches it, so it drains and ends with 0; the engine need not kill it."""
    docker("compose", "--project-name", "fleet-test", "stop", "worker", seconds=90)
    state = docker("inspect", "--format", "{{.State.ExitCode}}", "fleet-test-worker-1")
    assert state.strip() == "0"
