"""What a FLEET_* variable may be, and what is said about one that cannot be used."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from fleet.config import settings

Set = Callable[..., None]


@pytest.fixture
def set_variables(monkeypatch: pytest.MonkeyPatch) -> Set:
    """Set FLEET_* variables by field name, and nothing else of Fleet's."""
    for name in [name for name in os.environ if name.upper().startswith("FLEET_")]:
        monkeypatch.delenv(name)

    def apply(**values: str) -> None:
        for field, value in values.items():
            monkeypatch.setenv(settings.variable(field), value)

    return apply


def refusal() -> str:
    with pytest.raises(settings.SettingsError) as caught:
        settings.read()
    return str(caught.value)


def test_without_variables_everything_has_the_documented_default(set_variables: Set) -> None:
    """The defaults are those that the documentation promises."""
    set_variables()
    read = settings.read()
    assert read.bootstrap_servers == ["127.0.0.1:9092"]
    assert (read.prefix, read.partitions, read.replication) == ("fleet", 8, -1)
    assert read.event_retention == 14 * 24 * 3600
    assert (read.dedupe_days, read.resume_days) == (1, 7)
    assert (read.slots, read.drain_seconds, read.instance_id) == (2_000, 20, "")


def test_each_setting_says_what_it_means(set_variables: Set) -> None:
    """No setting is without the line that `fleet config show` prints."""
    set_variables()
    silent = [
        name for name, field in settings.Settings.model_fields.items() if not field.description
    ]
    assert silent == []


def test_a_variable_replaces_the_default(set_variables: Set) -> None:
    """A field is set by its name in upper case behind FLEET_."""
    set_variables(slots="17", log_format="console")
    assert (settings.read().slots, settings.read().log_format) == (17, "console")


def test_an_empty_variable_is_as_if_it_were_not_set(set_variables: Set) -> None:
    """Compose files and Helm charts pass unset values as empty ones."""
    set_variables(broker="", partitions="", security_ca_file="")
    read = settings.read()
    assert (read.broker, read.partitions, read.security_ca_file) == (
        "kafka://127.0.0.1:9092",
        8,
        None,
    )


def test_settings_are_frozen(set_variables: Set) -> None:
    """What was read at the start is what holds to the end."""
    set_variables()
    with pytest.raises(ValidationError, match="frozen"):
        settings.read().slots = 1  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize(
    ("given", "servers"),
    [
        ("kafka://one:9092", ["one:9092"]),
        ("one:9092", ["one:9092"]),
        ("kafka://one:9092,two:9093", ["one:9092", "two:9093"]),
        ("kafka://[::1]:9092", ["[::1]:9092"]),
    ],
)
def test_brokers_are_listed_as_host_and_port(
    given: str, servers: list[str], set_variables: Set
) -> None:
    """The scheme may be left out; several brokers are separated by commas."""
    set_variables(broker=given)
    assert settings.read().bootstrap_servers == servers


@pytest.mark.parametrize(
    "given",
    ["one", "one:", ":9092", "one:kafka", "one:0", "one:65536", "http://one:9092", "kafka://"],
)
def test_what_is_no_broker_address_is_shown_with_the_right_form(
    given: str, set_variables: Set
) -> None:
    """The sentence names the variable, what it held, and what it should look like."""
    set_variables(broker=given)
    said = refusal()
    assert said.startswith("FLEET_BROKER: ")
    assert given in said
    assert "host:port" in said


def test_credentials_in_the_broker_address_are_refused_and_not_repeated(set_variables: Set) -> None:
    """A password that was put into the wrong place does not go on into a log."""
    set_variables(broker="kafka://me:hunter2@one:9092")
    said = refusal()
    assert "FLEET_SECURITY_PASSWORD" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("given", "local"),
    [
        ("localhost:1,127.0.0.1:2,[::1]:3", True),
        ("localhost:1,example.org:2", False),
        ("10.0.0.1:1", False),
    ],
)
def test_brokers_are_local_when_every_one_is_on_this_machine(
    given: str, local: bool, set_variables: Set
) -> None:
    """Topics are created unasked only where they cannot be anybody else's."""
    set_variables(broker=given)
    assert settings.read().is_local is local


@pytest.mark.parametrize("prefix", ["embedded", "embedded.mine", "with space", "a/b", "x" * 101])
def test_a_prefix_that_kafka_or_embedded_apps_would_trip_over_is_refused(
    prefix: str, set_variables: Set
) -> None:
    """It begins topic names, and those of embedded apps begin with `embedded.`."""
    set_variables(prefix=prefix)
    assert refusal().startswith(f"FLEET_PREFIX: {prefix!r} ")


@pytest.mark.parametrize("prefix", ["embedded-tests", "team.fleet_2"])
def test_other_prefixes_are_taken(prefix: str, set_variables: Set) -> None:
    """Only what really is in the way is refused."""
    set_variables(prefix=prefix)
    assert settings.read().prefix == prefix


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("partitions", "0"),
        ("replication", "-2"),
        ("event_retention", "59"),
        ("dedupe_days", "0"),
        ("resume_days", "inf"),
        ("slots", "many"),
        ("drain_seconds", "-1"),
        ("log_format", "xml"),
        ("security_protocol", "TLS"),
    ],
)
def test_a_value_out_of_its_range_is_named_with_its_variable(
    field: str, value: str, set_variables: Set
) -> None:
    """The sentence carries the variable and the value, and nothing of the library's jargon."""
    set_variables(**{field: value})
    said = refusal()
    assert said.startswith(f"{settings.variable(field)}: ")
    assert f"(it is '{value}')" in said
    assert "Value error" not in said


def test_every_problem_is_told_at_once(set_variables: Set) -> None:
    """You learn of all wrong variables at once."""
    set_variables(slots="0", broker="nowhere", prefix="embedded")
    said = refusal()
    assert all(name in said for name in ("FLEET_SLOTS", "FLEET_BROKER", "FLEET_PREFIX"))


@pytest.mark.parametrize("given", [{}, {"security_username": "me"}, {"security_password": "x"}])
def test_sasl_without_user_or_password_is_refused(
    given: dict[str, str], set_variables: Set
) -> None:
    """The broker would refuse it later and in fewer words."""
    set_variables(security_protocol="SASL_SSL", **given)
    assert refusal().startswith("SASL needs FLEET_SECURITY_USERNAME and FLEET_SECURITY_PASSWORD.")


def test_a_password_is_not_printed_with_the_settings(set_variables: Set) -> None:
    """Settings can be logged."""
    set_variables(security_username="me", security_password="hunter2")
    assert "hunter2" not in repr(settings.read())
    assert settings.read().security_password.get_secret_value() == "hunter2"


def test_the_data_folder_is_the_users_state_folder(
    set_variables: Set, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By XDG_STATE_HOME where it is set, else under the home folder."""
    set_variables()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert settings.read().data_dir == tmp_path / ".local/state/fleet"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert settings.read().data_dir == tmp_path / "state/fleet"


def test_a_tilde_in_a_folder_is_the_home_folder(
    set_variables: Set, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where no shell has replaced it, we do."""
    monkeypatch.setenv("HOME", str(tmp_path))
    set_variables(data_dir="~/fleet", security_ca_file="~/ca.pem")
    read = settings.read()
    assert (read.data_dir, read.security_ca_file) == (tmp_path / "fleet", tmp_path / "ca.pem")


def test_a_home_folder_that_nobody_knows_is_told_with_its_variable(set_variables: Set) -> None:
    """Containers run as users that have none."""
    set_variables(data_dir="~no-such-user/fleet")
    assert refusal().startswith("FLEET_DATA_DIR: ~no-such-user/fleet ")


def test_the_current_settings_are_read_once(set_variables: Set) -> None:
    """A change of the environment does not reach a running process."""
    set_variables(slots="5")
    settings.current.cache_clear()
    first = settings.current()
    set_variables(slots="6")
    assert settings.current() is first
    settings.current.cache_clear()
    assert settings.current().slots == 6
    settings.current.cache_clear()


def test_every_setting_does_something() -> None:
    """Code beside its declaration reads it, or a property of the settings that code reads."""
    package = Path(settings.__file__).parents[1]
    declared, listed = Path(settings.__file__), package / "config" / "listing.py"
    others = " ".join(
        source.read_text() for source in package.rglob("*.py") if source not in (declared, listed)
    )
    own = declared.read_text()
    idle = [
        field
        for field in settings.Settings.model_fields
        if not re.search(rf"\b{field}\b", others) and f"self.{field}" not in own
    ]
    assert idle == []


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ('{"d": ', "FLEET_RETRIES: not JSON: Expecting value"),
        ('{"d": {"attempts": 0}}', "FLEET_RETRIES: d.attempts: Input should be greater"),
        ('{"d": {"attempt": 3}}', "FLEET_RETRIES: d.attempt: Extra inputs are not permitted"),
    ],
)
def test_a_setting_in_json_says_where_it_is_wrong(
    monkeypatch: pytest.MonkeyPatch, value: str, told: str
) -> None:
    monkeypatch.setenv("FLEET_RETRIES", value)
    with pytest.raises(settings.SettingsError, match=re.escape(told)):
        settings.read()
