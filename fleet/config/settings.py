"""
The settings of a process: read once from FLEET_* variables, then frozen.

Faust's own flags (`--datadir`, `--web-port`) win over these. `OPENAI_API_KEY`, `OPENAI_BASE_URL`
and the OpenTelemetry variables keep their standard names and are read by those libraries.
"""

import ipaddress
import os
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fleet.records.errors import FleetError


class SettingsError(FleetError):
    """Raised when a FLEET_* variable cannot be used."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems) + ". `fleet config show` lists every setting.")


def _data_dir() -> Path:
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "fleet"


class Settings(BaseSettings):
    """One process's settings; each field is the variable FLEET_<FIELD IN UPPER CASE>."""

    model_config = SettingsConfigDict(env_prefix="FLEET_", frozen=True, extra="ignore")

    #: Where Kafka is: `kafka://host:port[,host:port...]`.
    broker: str = "kafka://127.0.0.1:9092"
    #: First part of every topic name and engine id. Permanent once runs exist.
    prefix: str = "fleet"
    #: RocksDB folders, one per engine id, and the files of `fleet dev`.
    data_dir: Path = Field(default_factory=_data_dir)
    #: Partitions of topics that are created from now on.
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 8
    #: Replication factor of new topics; -1 is the broker's default.
    replication: Annotated[int, Field(ge=-1)] = -1
    #: How long Kafka keeps events, in seconds.
    event_retention: Annotated[int, Field(ge=60)] = 14 * 86_400
    #: How long a repeated run id is recognised after the run's end, in days.
    dedupe_days: Annotated[float, Field(gt=0)] = 1
    #: How long the state of a failed, cancelled or timed-out run is kept, in days.
    resume_days: Annotated[float, Field(gt=0)] = 7
    #: Steps in flight per worker.
    slots: Annotated[int, Field(ge=1)] = 2_000
    #: How long a stopping worker lets running steps finish, in seconds.
    drain_seconds: Annotated[float, Field(ge=0)] = 20
    #: Static membership: a name that is this worker's over restarts. Off when empty.
    instance_id: str = ""
    #: Confluent-compatible schema registry.
    schema_registry_url: str = ""
    #: `json` for machines, `console` for people.
    log_format: Literal["json", "console"] = "json"
    #: `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    #: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    security_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    security_username: str = ""
    security_password: SecretStr = SecretStr("")
    #: Certificate authorities of the broker, client certificate and its key, as PEM files.
    security_ca_file: Path | None = None
    security_cert_file: Path | None = None
    security_key_file: Path | None = None

    @field_validator("broker")
    @classmethod
    def _has_kafka_scheme(cls, broker: str) -> str:
        scheme, _, hosts = broker.rpartition("://")
        if scheme not in ("", "kafka") or not hosts:
            raise ValueError(f"{broker!r} is not of the form kafka://host:port[,host:port...]")
        for host in hosts.split(","):
            name, _, port = host.rpartition(":")
            if not name or not port.isdigit():
                raise ValueError(f"{host!r} in {broker!r} is not of the form host:port")
        return f"kafka://{hosts}"

    @field_validator("prefix")
    @classmethod
    def _is_not_embedded(cls, prefix: str) -> str:
        if not prefix or prefix.startswith("embedded."):
            raise ValueError("a prefix is not empty and does not begin with 'embedded.'")
        return prefix

    @model_validator(mode="after")
    def _sasl_has_a_user(self) -> Self:
        if self.security_protocol.startswith("SASL") and not self.security_username:
            raise ValueError("SASL needs FLEET_SECURITY_USERNAME and FLEET_SECURITY_PASSWORD")
        return self

    @property
    def bootstrap_servers(self) -> list[str]:
        """The brokers as `host:port`."""
        return self.broker.removeprefix("kafka://").split(",")

    @property
    def is_local(self) -> bool:
        """Whether every broker is on this machine: what is missing there may be created unasked."""
        return all(_is_loopback(server.rpartition(":")[0]) for server in self.bootstrap_servers)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def read() -> Settings:
    """Read the environment; raise SettingsError with every problem in it."""
    try:
        return Settings()
    except ValidationError as failure:
        raise SettingsError([_sentence(error) for error in failure.errors()]) from None


@cache
def current() -> Settings:
    """The process's settings, read at the first call."""
    return read()


def _sentence(error: object) -> str:
    match error:
        case {"loc": (name, *_), "msg": message, "input": value}:
            shown = "" if "password" in str(name) else f" (it is {value!r})"
            return f"FLEET_{str(name).upper()}: {message}{shown}"
        case {"msg": message}:
            return str(message)
        case _:
            return str(error)
