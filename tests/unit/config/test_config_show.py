"""`fleet config show`: every setting, its source, no secret, and what is misspelt."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fleet.cli.main import main
from fleet.config import listing, settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start without Fleet's variables and the standard ones, and leave no settings behind."""
    for name in [*os.environ]:
        if name.upper().startswith(("FLEET_", "OPENAI_", "OTEL_")):
            monkeypatch.delenv(name)
    settings.current.cache_clear()
    yield
    settings.current.cache_clear()


def show(*arguments: str, **environ: str) -> Result:
    return CliRunner(env=environ).invoke(main, ["config", "show", *arguments])


def shown(*arguments: str, **environ: str) -> dict[str, dict[str, Any]]:
    result = show("-o", "json", *arguments, **environ)
    assert result.exit_code == 0, result.output
    return {row["variable"]: row for row in json.loads(result.stdout)}


def test_every_setting_is_listed_with_value_source_and_meaning() -> None:
    """Nothing that can be set is missing."""
    rows = shown()
    assert set(rows) >= {settings.variable(field) for field in settings.Settings.model_fields}
    assert rows["FLEET_PARTITIONS"] == {
        "variable": "FLEET_PARTITIONS",
        "value": 8,
        "source": "default",
        "meaning": "Partitions of new topics.",
    }


def test_a_value_from_the_environment_says_so() -> None:
    """The table says where a value comes from."""
    rows = shown(FLEET_PREFIX="team", FLEET_SLOTS="")
    assert (rows["FLEET_PREFIX"]["value"], rows["FLEET_PREFIX"]["source"]) == (
        "team",
        "environment",
    )
    assert (rows["FLEET_SLOTS"]["value"], rows["FLEET_SLOTS"]["source"]) == (2000, "default")


@pytest.mark.parametrize("form", ["table", "json"])
def test_no_secret_is_printed(form: str) -> None:
    """Passwords, keys, headers and credentials in addresses are masked, in every form."""
    result = show(
        "-o",
        form,
        FLEET_SECURITY_PASSWORD="hunter2",
        OPENAI_API_KEY="hunter2",
        OPENAI_BASE_URL="https://me:hunter2@llm/v1",
        OTEL_EXPORTER_OTLP_HEADERS="api-key=hunter2",
    )
    assert result.exit_code == 0
    assert "hunter2" not in result.output
    assert result.output.count(listing.MASK) == 4
    assert f"https://{listing.MASK}@llm/v1" in result.output


def test_standard_variables_are_shown_beside_ours() -> None:
    """OpenAI's always, OpenTelemetry's where they are set."""
    rows = shown(OTEL_SERVICE_NAME="fleet", OPENAI_BASE_URL="http://llm/v1")
    assert rows["OTEL_SERVICE_NAME"]["value"] == "fleet"
    assert rows["OPENAI_BASE_URL"]["source"] == "environment"
    assert rows["OPENAI_API_KEY"]["value"] == ""


def test_a_pipe_gets_aligned_columns_without_decoration() -> None:
    """The second column begins at the same place in every line."""
    lines = show().stdout.splitlines()
    assert lines[0].split() == ["VARIABLE", "VALUE", "SOURCE", "MEANING"]
    start = lines[0].index("VALUE")
    assert all(line[start - 1] == " " for line in lines)
    assert next(line for line in lines if line.startswith("FLEET_PREFIX "))[start:].startswith(
        "fleet "
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--broker", "one:1", "config", "show"],
        ["config", "show", "--broker", "one:1"],
        ["--broker", "three:3", "config", "show", "--broker", "one:1"],
    ],
)
def test_the_broker_option_replaces_the_variable_for_one_call(arguments: list[str]) -> None:
    """Before or after the command, the nearer one wins; then the environment is what it was."""
    runner = CliRunner(env={"FLEET_BROKER": "two:2"})
    result = runner.invoke(main, [*arguments, "-o", "json"])
    assert json.loads(result.stdout)[0]["value"] == "kafka://one:1"
    after = runner.invoke(main, ["config", "show", "-o", "json"])
    assert json.loads(after.stdout)[0]["value"] == "kafka://two:2"


def test_settings_that_cannot_be_used_end_in_one_sentence_and_exit_code_1() -> None:
    """Nothing on stdout for a program to take for an answer."""
    result = show(FLEET_BROKER="nowhere")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: FLEET_BROKER: 'nowhere'")
    assert result.stderr.splitlines()[1:] == ["See docs/reference.md#settingserror"]


def test_a_misspelt_variable_is_reported_with_the_one_that_was_meant() -> None:
    """On stderr, so that the listing stays what it is."""
    result = show("-o", "json", FLEET_BROKR="kafka://one:1")
    assert result.exit_code == 0
    assert result.stderr == (
        "Warning: FLEET_BROKR is not a setting and is ignored; did you mean FLEET_BROKER?\n"
    )
    assert json.loads(result.stdout)[0]["source"] == "default"


@pytest.mark.parametrize("name", ["FLEET_XYZZY", "FLEET_Q"])
def test_a_variable_like_no_other_is_reported_without_a_guess(name: str) -> None:
    """A wrong guess would mislead."""
    assert listing.unknown({name: "1"}) == [f"{name} is not a setting and is ignored."]


@pytest.mark.parametrize(
    "name",
    [
        "FLEET_BROKER",
        "fleet_broker",
        "FLEET_TEST_BROKER",
        "FLEET_SERVICE_HOST",
        "FLEET_JOKE_SERVICE_PORT_HTTP",
        "FLEET_JOKE_PORT",
        "FLEET_JOKE_PORT_80_TCP_ADDR",
        "FLEETING",
    ],
)
def test_variables_that_are_known_or_somebody_elses_are_not_reported(name: str) -> None:
    """Kubernetes describes a Service called fleet-joke in variables that begin with FLEET_."""
    assert listing.unknown({name: "1"}) == []
