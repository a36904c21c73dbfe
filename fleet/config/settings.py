"""
The settings of a process: read once from FLEET_* variables, then frozen.

Faust's own flags (`--datadir`, `--web-port`) win over these. `OPENAI_API_KEY`, `OPENAI_BASE_URL`
and the OpenTelemetry variables keep their standard names and are read by those libraries.
"""

import ipaddress
import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import pydantic_settings
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from fleet.records.errors import FleetError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

#: 160 events of 400 KB, or 32,000 of 2 KB.
WINDOW_BYTES = 64 * 1024 * 1024
VARIABLE_PREFIX = "FLEET_"
_HIGHEST_PORT = 65_535


class Retries(BaseModel):
    """How often the steps of a workflow are tried that say nothing about it themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: The first one included.
    attempts: int = Field(3, ge=1)
    #: Before the second attempt; each wait after it is twice as long, with jitter.
    wait_seconds: FiniteFloat = Field(1, ge=0)
    max_wait_seconds: FiniteFloat = Field(60, ge=0)


class SettingsError(FleetError):
    """Raised when a FLEET_* variable cannot be used.

    What to do: Correct or unset the variables that the message names; `fleet config show` lists
    every setting.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__(
            "; ".join(problems) + ". Correct or unset these variables; "
            "`fleet config show` then lists every setting."
        )


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"{path} is in an unknown home folder; set a full path") from None


def _data_dir() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state") / "fleet"


# A start without a shell (systemd, compose, Kubernetes) passes `~` as it is.
_UserPath = Annotated[Path, AfterValidator(_expanded)]


class Settings(BaseSettings):
    """One process's settings; each field is the variable FLEET_<FIELD IN UPPER CASE>."""

    # Compose files and Helm charts pass an unset variable as an empty one.
    model_config = SettingsConfigDict(
        env_prefix=VARIABLE_PREFIX, env_ignore_empty=True, frozen=True, extra="ignore"
    )

    broker: str = Field(
        "kafka://127.0.0.1:9092", description="Where Kafka is: kafka://host:port[,host:port...]."
    )
    prefix: str = Field(
        "fleet",
        description="First part of every topic name and engine id. Permanent once runs exist.",
    )
    data_dir: _UserPath = Field(
        default_factory=_data_dir,
        description="RocksDB folders, one per engine id, and the files of `fleet dev`.",
    )
    partitions: int = Field(8, ge=1, le=10_000, description="Partitions of new topics.")
    replication: int = Field(
        -1, ge=-1, description="Replication factor of new topics; -1 is the broker's default."
    )
    event_retention: int = Field(
        14 * 86_400, ge=60, description="How long Kafka keeps events, in seconds."
    )
    dedupe_days: FiniteFloat = Field(
        1,
        gt=0,
        description="How long a repeated run id is recognised after the run's end, in days.",
    )
    retries: dict[str, Retries] = Field(
        {},
        description="Retries of workflows whose steps have no policy, as JSON by workflow, `*` for "
        'all: {"digest": {"attempts": 3, "wait_seconds": 1, "max_wait_seconds": 60}}.',
    )
    resume_days: FiniteFloat = Field(
        7,
        gt=0,
        description="How long the state of a failed, cancelled or timed-out run is kept, in days.",
    )
    unknown_step_hours: FiniteFloat = Field(
        1,
        ge=0,
        description="How long suspended work waits for a step that its worker does not have, in "
        "hours. Then it becomes a dead letter, and its run fails. Longer than a deployment takes.",
    )
    slots: int = Field(2_000, ge=1, description="Steps in flight per worker.")
    window_bytes: int = Field(
        WINDOW_BYTES,
        ge=1_048_576,
        description="Events that a worker has taken and not finished, in bytes. More allows more "
        "steps at once on large events, and takes up to three times as much memory.",
    )
    crash_limit: int = Field(
        3,
        ge=0,
        description="Fleet stops repeating a step, and its run fails, after this many workers died "
        "while they ran it after an earlier worker's death. 0: it always runs again.",
    )
    drain_seconds: FiniteFloat = Field(
        20, ge=0, description="How long a stopping worker lets running steps finish, in seconds."
    )
    instance_id: str = Field(
        "",
        description="Static membership: a name that this worker keeps over restarts. Off if empty.",
    )
    session_seconds: FiniteFloat = Field(
        6,
        ge=1,
        le=1_800,
        description="How long the group waits for a silent worker before others take over, in "
        "seconds. 6 is the least that a broker allows by default.",
    )
    stall_seconds: FiniteFloat = Field(
        120,
        ge=0,
        description="A worker ends if it takes nothing, or waits for one commit, for this many "
        "seconds while the broker answers. 0: never.",
    )
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "none",
        description="Compression of written records: `none`, `gzip`, `snappy`, `lz4` or `zstd`. "
        "All of them can be read.",
    )
    accept_logs: str = Field(
        "",
        description="Ids of topics that were deleted and created again, or truncated, and that "
        "workers may process from their beginning; separated by commas. A worker that refuses such "
        "a topic names the id in its error.",
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="`json` for machines, `console` for people."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`."
    )
    security_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="SASL: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`."
    )
    security_username: str = Field("", description="SASL: who connects.")
    security_password: SecretStr = Field(SecretStr(""), description="SASL: the password.")
    security_ca_file: _UserPath | None = Field(
        None, description="TLS: certificate authorities of the broker, a PEM file."
    )
    security_cert_file: _UserPath | None = Field(
        None, description="TLS: the client's certificate, a PEM file."
    )
    security_key_file: _UserPath | None = Field(
        None, description="TLS: the key of the client's certificate, a PEM file."
    )

    @field_validator("broker")
    @classmethod
    def _names_hosts_and_ports(cls, broker: str) -> str:
        return broker_address(broker)

    @field_validator("prefix")
    @classmethod
    def _can_begin_a_topic_name(cls, prefix: str) -> str:
        if not re.fullmatch(r"[a-zA-Z0-9._-]{1,100}", prefix):
            raise ValueError(
                f"{prefix!r} cannot begin a topic name; "
                "use up to 100 of the letters a to z and A to Z, digits, '.', '_' and '-'"
            )
        if f"{prefix}.".startswith("embedded."):
            raise ValueError(f"{prefix!r} belongs to embedded apps; choose another first part")
        return prefix

    @model_validator(mode="after")
    def _sasl_has_a_user(self) -> Self:
        known = self.security_username and self.security_password.get_secret_value()
        if self.security_protocol.startswith("SASL") and not known:
            raise ValueError("SASL needs FLEET_SECURITY_USERNAME and FLEET_SECURITY_PASSWORD")
        return self

    @property
    def bootstrap_servers(self) -> list[str]:
        """The brokers as `host:port`."""
        return self.broker.removeprefix("kafka://").split(",")

    @property
    def accepted_logs(self) -> frozenset[str]:
        """The topics, by id, that are processed from their beginning."""
        return frozenset(log_id.strip() for log_id in self.accept_logs.split(",")) - {""}

    @property
    def is_local(self) -> bool:
        """Whether every broker is on this machine: Fleet creates missing topics there unasked."""
        return all(_is_loopback(server.rpartition(":")[0]) for server in self.bootstrap_servers)


def broker_address(text: str) -> str:
    """Return *text* as `kafka://host:port[,host:port...]`; raise ValueError with the way out."""
    if "@" in text:  # so the message must not repeat the text
        raise ValueError(
            "an address carries no credentials; "
            "they go into FLEET_SECURITY_USERNAME and FLEET_SECURITY_PASSWORD"
        )
    scheme, _, hosts = text.rpartition("://")
    if scheme not in ("", "kafka") or not all(map(_is_server, hosts.split(","))):
        raise ValueError(f"{text!r} is not of the form kafka://host:port[,host:port...]")
    return f"kafka://{hosts}"


def _is_server(text: str) -> bool:
    name, _, port = text.rpartition(":")
    return bool(name and re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) <= _HIGHEST_PORT)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def variable(field: str) -> str:
    """Return the name of the environment variable that sets *field*."""
    return f"{VARIABLE_PREFIX}{field.upper()}"


def read() -> Settings:
    """Read the environment; raise SettingsError with every problem in it."""
    try:
        return Settings()
    except ValidationError as failure:
        raise SettingsError([_sentence(error) for error in failure.errors()]) from None
    except pydantic_settings.SettingsError as failure:
        # One that is JSON, and is not.
        raise SettingsError([f"{_field_of(failure)}: not JSON: {failure.__cause__}"]) from None


def _field_of(failure: pydantic_settings.SettingsError) -> str:
    found = re.search(r'field "(\w+)"', str(failure))
    return variable(found[1]) if found else "a variable"


@cache
def current() -> Settings:
    """The process's settings, read at the first call."""
    return read()


def _sentence(error: "ErrorDetails") -> str:
    first, *rest = [str(part) for part in error["loc"]] or [""]
    name = "".join(f"{part}: " for part in (first and variable(first), ".".join(rest)) if part)
    if error["type"] == "value_error":  # one of the sentences above
        return f"{name}{error['ctx']['error']}"
    return f"{name}{error['msg']} (it is {error['input']!r})"
