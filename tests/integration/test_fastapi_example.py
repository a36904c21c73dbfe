"""The example of a web service: real requests, a real server, a real worker, a scripted model."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from workers import WorkerProcess

from fleet.dev.kafka import Broker
from fleet.dev.llm import ScriptedProcess, start_process

pytestmark = pytest.mark.kafka

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
#: How long a joke may take here, in seconds. More than the model's client takes to give up.
TIMEOUT = 8.0


class Service:
    """`uvicorn fastapi_app:app`."""

    def __init__(self, log: Path, **variables: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.log = log
        self.address = f"http://127.0.0.1:{port}"
        program = [str(Path(sys.executable).with_name("uvicorn")), "fastapi_app:app"]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*program, "--app-dir", str(EXAMPLES), "--port", str(port)],
                env={**os.environ, **variables},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> None:
        """Return when it takes requests."""
        while "Uvicorn running" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def post(self, *, key: str | None = None, **fields: str) -> tuple[int, Any]:
        """Return status and body."""
        headers = {"Idempotency-Key": key} if key else {}
        with httpx.Client(trust_env=False, timeout=60) as client:
            answer = client.post(f"{self.address}/jokes", params=fields, headers=headers)
        return answer.status_code, answer.json()

    def stop(self) -> int:
        """End it as a platform does; return the exit code."""
        self.process.terminate()
        return self.process.wait(30)

    @property
    def left_cleanly(self) -> bool:
        """Whether the connection was closed. uvicorn then ends by the signal that it was sent."""
        return "Application shutdown complete" in self.log.read_text()


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedProcess]:
    """A model that hangs and fails for certain topics."""
    log = tmp_path_factory.mktemp("llm") / "llm.log"
    process = start_process(log=log, latency_seconds=0.05)
    process.change(
        faults=[{"kind": "hang", "containing": "tar"}, {"kind": "500", "containing": "gravel"}]
    )
    yield process
    process.stop()


@pytest.fixture(scope="module")
def service(
    kafka_broker: Broker, llm: ScriptedProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service with a worker."""
    folder = tmp_path_factory.mktemp("service")
    variables = {
        "FLEET_BROKER": kafka_broker.address,
        "FLEET_PREFIX": f"web{uuid4().hex[:8]}",
        "FLEET_DATA_DIR": str(folder),
        "OPENAI_BASE_URL": llm.base_url,
        "OPENAI_API_KEY": "scripted",
        "JOKE_TIMEOUT": str(TIMEOUT),
    }
    worker = WorkerProcess("fleet.joke", folder / "worker.log", **variables)
    service = Service(folder / "service.log", **variables)
    try:
        service.wait()
        yield service
        assert service.stop() in (0, -signal.SIGTERM)
        assert service.left_cleanly, service.log.read_text()
    finally:
        service.process.kill()
        service.process.wait()
        worker.stop()


def test_a_request_gets_the_critique(service: Service) -> None:
    """200, and the result of the run."""
    status, body = service.post(topic="pirates")
    assert status == 200
    assert "pirates" in body["critique"]


def test_many_requests_share_one_connection(service: Service) -> None:
    """Each gets its own answer."""
    topics = [f"animal{number}" for number in range(40)]
    with httpx.Client(trust_env=False, timeout=60) as client:
        answers = [client.post(f"{service.address}/jokes", params={"topic": t}) for t in topics]
    assert [answer.status_code for answer in answers] == [200] * len(topics)
    for topic, answer in zip(topics, answers, strict=True):
        assert topic in json.dumps(answer.json())


def test_fields_that_do_not_fit_are_422(service: Service) -> None:
    """With what the workflow takes."""
    for fields in ({}, {"topik": "cats"}):
        status, body = service.post(**fields)
        assert (status, "StartEvent has the fields topic" in body["detail"]) == (422, True)


def test_a_run_that_takes_too_long_is_504(service: Service) -> None:
    """The detail says which steps were at work."""
    status, body = service.post(topic="tar")
    assert status == 504
    assert "generate_joke" in body["detail"]


def test_a_run_that_fails_is_502(service: Service, llm: ScriptedProcess) -> None:
    """With what the step raised."""
    status, body = service.post(topic="gravel")
    assert status == 502
    assert "InternalServerError" in body["detail"]


def test_a_repeated_key_gets_the_first_answer(service: Service, llm: ScriptedProcess) -> None:
    """No model is called for it; with another topic it is refused."""
    first = service.post(topic="owls", key="k1")
    calls = llm.stats()["requests"]
    assert service.post(topic="owls", key="k1") == first
    assert llm.stats()["requests"] == calls
    assert service.post(topic="mice", key="k1")[0] == 409
