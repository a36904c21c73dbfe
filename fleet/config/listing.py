"""
The settings as people see them: values, origins, meanings, and misspelt variables.

You may print and log everything here: secrets are masked on the way in, not by the printer.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fleet.config import settings

MASK = "********"
_STANDARD = {
    "OPENAI_API_KEY": "The key of the LLM endpoint; without it `fleet demo` uses a scripted LLM.",
    "OPENAI_BASE_URL": "An OpenAI-compatible endpoint; empty means OpenAI's own.",
}
_OPENTELEMETRY = "Read by OpenTelemetry."
_SECRET_NAME = re.compile(r"KEY$|HEADERS$|PASSWORD$|TOKEN$|SECRET$")
_CREDENTIALS_IN_URL = re.compile(r"//[^/@\s]+@")
# Kubernetes puts such variables of a Service called fleet-... into every pod of its namespace.
_SERVICE_LINK = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_|$)|_PORT(_\d+_(TCP|UDP).*)?$")
_TEST_SUITE = settings.variable("test_")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting to show: *value* is masked, *source* is `environment` or `default`."""

    variable: str
    value: object
    source: str
    meaning: str


def listed(current: settings.Settings, environ: Mapping[str, str] = os.environ) -> list[Setting]:
    """Return Fleet's settings in their own order, then the standard ones."""
    return [*_own(current, environ), *_standard(environ)]


def unknown(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return a sentence for each FLEET_* variable that nothing reads."""
    known = [settings.variable(field) for field in settings.Settings.model_fields]
    return [_unknown(name, known) for name in sorted(environ) if _is_stray(name.upper(), known)]


def _own(current: settings.Settings, environ: Mapping[str, str]) -> Iterator[Setting]:
    values = current.model_dump(mode="json")
    given = {name.upper() for name, value in environ.items() if value}
    for field, about in settings.Settings.model_fields.items():
        variable = settings.variable(field)
        source = "environment" if variable in given else "default"
        yield Setting(variable, masked(variable, values[field]), source, about.description or "")


def _standard(environ: Mapping[str, str]) -> Iterator[Setting]:
    telemetry = {name: _OPENTELEMETRY for name in sorted(environ) if name.startswith("OTEL_")}
    for variable, meaning in (_STANDARD | telemetry).items():
        value = environ.get(variable, "")
        yield Setting(
            variable, masked(variable, value), "environment" if value else "default", meaning
        )


def masked(variable: str, value: object) -> object:
    """Return *value* without secrets; its type stays, and empty stays empty."""
    if not isinstance(value, str):
        return value
    if value and _SECRET_NAME.search(variable):
        return MASK
    return _CREDENTIALS_IN_URL.sub(f"//{MASK}@", value)


def _is_stray(name: str, known: list[str]) -> bool:
    ours = name.startswith(settings.VARIABLE_PREFIX) and not name.startswith(_TEST_SUITE)
    return ours and name not in known and not _SERVICE_LINK.search(name)


def _unknown(name: str, known: list[str]) -> str:
    # Compare without the prefix: with it all names look alike.
    rest = [variable.removeprefix(settings.VARIABLE_PREFIX) for variable in known]
    near = difflib.get_close_matches(name.upper().removeprefix(settings.VARIABLE_PREFIX), rest, n=1)
    hint = f"; did you mean {settings.variable(near[0])}?" if near else "."
    return f"{name} is not a setting and is ignored{hint}"
