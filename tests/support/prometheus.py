"""A real Prometheus on a port of its own, with the rules of this repository."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from monitoring import GRAFANA

from fleet.dev import ports

#: Of the scrape jobs that rules and dashboards know.
JOBS = ("fleet", "fleet-exporter")
_READY_SECONDS = 30
_CONFIG = """
global: {{scrape_interval: {seconds}s, scrape_timeout: {seconds}s, evaluation_interval: {seconds}s}}
rule_files: ["{folder}/rules/*.yaml"]
scrape_configs:
"""
_JOB = """
  - job_name: {job}
    file_sd_configs: [{{files: ["{folder}/{job}.json"]}}]
"""


class Prometheus:
    """Scrapes what it is told to and evaluates the rules, both each *seconds*."""

    def __init__(self, folder: Path, seconds: int = 1) -> None:
        self._folder = folder
        self._port = ports.choose()
        self._log = folder / "prometheus.log"
        _write_rules(folder / "rules", seconds)
        config = folder / "prometheus.yml"
        config.write_text(_config(folder, seconds))
        words = [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT)

    @staticmethod
    def is_here() -> bool:
        """Whether there is a Prometheus to start."""
        return shutil.which("prometheus") is not None

    def __enter__(self) -> Self:
        deadline = time.monotonic() + _READY_SECONDS
        while not self._is_ready():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def scrape(self, job: str, *ports: int) -> None:
        """Scrape these local *ports* as *job* from now on, and no others."""
        new = self._folder / f"{job}.new"
        new.write_text(json.dumps([{"targets": [f"127.0.0.1:{port}" for port in ports]}]))
        # Prometheus must not read half of it.
        new.rename(self._folder / f"{job}.json")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that *expression* has now; raises ValueError when it is none."""
        words = urllib.parse.urlencode({"query": expression})
        result: list[dict[str, Any]] = self._get(f"query?{words}")["result"]
        return result

    def names(self) -> set[str]:
        """Return the names of all series."""
        return set(self._get("label/__name__/values"))

    def rules(self) -> list[dict[str, Any]]:
        """Return what became of each rule."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v1/{path}") as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refusal:
            raise ValueError(json.load(refusal)["error"]) from None

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/-/ready") as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def values(series: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the numbers of an answer, without those that are none."""
    found = [float(each["value"][1]) for each in series]
    return [each for each in found if each == each]  # noqa: PLR0124 - not so for NaN


def _write_rules(folder: Path, seconds: int) -> None:
    """Copy the rules into *folder*, to be evaluated each *seconds*."""
    folder.mkdir(parents=True)
    for file in (GRAFANA / "rules").glob("*.yaml"):
        text = file.read_text().replace("    interval: 15s\n", f"    interval: {seconds}s\n")
        (folder / file.name).write_text(text)


def _config(folder: Path, seconds: int) -> str:
    jobs = (_JOB.format(job=job, folder=folder) for job in JOBS)
    return _CONFIG.format(seconds=seconds, folder=folder) + "".join(jobs)
