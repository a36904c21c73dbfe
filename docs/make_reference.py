"""
Writes docs/reference.md: what the sources say about every public name, command, setting, metric,
topic, header and error. A test fails where it was forgotten.

    python docs/make_reference.py
"""  # noqa: INP001 - a script, no package

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import reference_api
from griffe import Attribute, Class, Module
from prometheus_client import Metric
from prometheus_client.metrics import MetricWrapperBase

from fleet.cli import main
from fleet.config import listing, settings
from fleet.control.lag.exporter_metrics import LABELS, ExporterMetrics
from fleet.observability import metrics
from fleet.observability.metrics import GaugeAtScrape
from fleet.records.envelope import Envelope
from fleet.records.errors import ExitCode
from fleet.records.topics import Topics

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference.md"
#: Columns of a command's help.
_WIDTH = 92
_HEAD = """
# Reference

Made from the sources by `python docs/make_reference.py`; do not edit it. Times are in seconds
unless a name says otherwise.

[API](#api) · [Development and tests](#development-and-tests) · [Command line](#command-line) ·
[Settings](#settings) · [Metrics](#metrics) · [Topics](#topics) · [Headers](#headers) ·
[Errors](#errors)
"""


def page() -> str:
    """Return the whole reference, as Markdown."""
    package = reference_api.load(ROOT)
    sections = (
        _HEAD,
        *reference_api.sections(package),
        "## Command line",
        _exit_codes(package),
        *_commands("fleet", main.main, None),
        _settings(),
        _metrics(),
        _topics(package),
        _headers(package),
        *_errors(package),
    )
    return "\n\n".join(section.strip() for section in sections if section.strip()) + "\n"


def _exit_codes(package: Module) -> str:
    described = package["records.errors.ExitCode"]
    rows = ((f"`{code.value}`", reference_api.comment(described[code.name])) for code in ExitCode)
    note = "A command ends with one of these codes; its help says more, if there is more to say."
    return f"### Exit codes\n\n{note}\n\n" + _table(("exit code", "what happened"), rows)


def _commands(path: str, command: click.Command, parent: click.Context | None) -> Iterator[str]:
    """Yield the help of a command and of those below it."""
    context = click.Context(
        command,
        parent,
        info_name=path.rpartition(" ")[2],
        terminal_width=_WIDTH,
        **command.context_settings,
    )
    yield f"### `{path}`"
    yield f"```text\n{command.get_help(context).strip()}\n```"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, f"{path} lists {name}"
            yield from _commands(f"{path} {name}", below, context)


def _settings() -> str:
    # Not `current()`: defaults are to be shown, and those of no particular user.
    defaults = settings.Settings.model_construct(data_dir=Path("~/.local/state/fleet"))
    rows = (
        (f"`{each.variable}`", _default(each.value), each.meaning)
        for each in listing.listed(defaults, {})
    )
    note = "Read once per process, from the environment. `fleet config show` shows what holds."
    return f"## Settings\n\n{note}\n\n" + _table(("variable", "default", "meaning"), rows)


def _default(value: object) -> str:
    return f"`{value}`" if value not in (None, "") else ""


def _metrics() -> str:
    found = (each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase))
    rows = [*(_metric(each) for each in found), *(_gauge(each) for each in metrics.AT_SCRAPE)]
    names = {row[0] for row in rows}
    exported = {each.name: each for each in ExporterMetrics().registry.collect()}
    theirs = [_exported(each) for name, each in exported.items() if f"`{name}`" not in names]
    heads = ("metric", "type", "labels", "what")
    parts = (
        "## Metrics\n",
        "On `/metrics` of every worker; what to look at is in [metrics.md](metrics.md).\n",
        _table(heads, rows),
        "Only `fleet exporter` has these; see [lag.md](lag.md).\n",
        _table(heads, theirs),
    )
    return "\n".join(parts)


def _exported(family: Metric) -> tuple[str, ...]:
    labels = ", ".join(f"`{label}`" for label in LABELS[family.name])
    return f"`{family.name}`", family.type, labels, family.documentation


def _gauge(gauge: GaugeAtScrape) -> tuple[str, ...]:
    labels = ", ".join(f"`{label}`" for label in (*metrics.GROUP, *gauge.labels))
    return f"`{gauge.name}`", "gauge", labels, gauge.help


def _metric(metric: MetricWrapperBase) -> tuple[str, ...]:
    (family,) = metric.describe()
    # The client cuts this suffix off a counter's name, and adds it where it is exported.
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001 - no public way
    return f"`{name}`", family.type, labels, family.documentation


def _topics(package: Module) -> str:
    described = package["records.topics.Topics"]
    shown = Topics("<prefix>", "<workflow>", "<group>")
    events = "Events of one type; a topic for each type that a step takes."
    rows = [(f"`{shown.event('<EventType>')}`", events)]
    for name, member in described.members.items():
        if "property" in member.labels and name != "engine_id":
            rows.append((f"`{getattr(shown, name)}`", reference_api.text(member)))
    note = (
        "A record's key is its run id. The engine id is "
        f"`{shown.engine_id}`: {reference_api.text(described['engine_id'])}"
    )
    return f"## Topics\n\n{note}\n\n" + _table(("topic", "what"), rows)


def _headers(package: Module) -> str:
    described = package["records.envelope.Envelope"]
    rows = [
        (f"`{_header(field)}`", reference_api.comment(described[field]))
        for field in Envelope._fields
    ]
    dead = package["records.dead_letter.DeadLetter"]
    rows.append(("`fleet-dead-letter`", "On dead letters, as JSON: " + _fields(dead)))
    note = "What has its default is not written."
    return f"## Headers\n\n{note}\n\n" + _table(("header", "what"), rows)


def _header(field: str) -> str:
    """Ask the envelope which header it writes for *field*."""
    plain = Envelope(run_id="r", event_id="e", type="t")
    others: dict[str, Any] = {
        "epoch": 1,
        "replays": 1,
        "timeout_seconds": 1.0,
        "order": 1,
        "recoveries": (("x", 1),),
    }
    other = others.get(field, "x")
    changed = plain._replace(**{field: other})
    (name,) = {name for name, _ in set(changed.headers()) - set(plain.headers())}
    return name


def _fields(record: Class) -> str:
    names = [name for name, each in record.members.items() if isinstance(each, Attribute)]
    return ", ".join(f"`{name}`" for name in names if name != "model_config")


def _errors(package: Module) -> Iterator[str]:
    yield "## Errors"
    yield (
        "All are subclasses of `fleet.FleetError`. The text of an error names the fact, the "
        "evidence and the way out. Its `address` names its section here; commands print it below "
        "the text."
    )
    for error in reference_api.errors(package):
        yield from _error(error)


def _error(error: Class) -> Iterator[str]:
    cause, *more = reference_api.text(error).split("\n\n")
    yield f"### `{error.name}`"
    yield f"`{error.path}`{_exit_code(error)}"
    yield cause
    # Markdown's own: the words stand out, in a docstring they need not.
    yield from (re.sub(r"^What to do:", "**What to do:**", paragraph) for paragraph in more)


def _exit_code(error: Class) -> str:
    for known in (error, *error.mro()):
        code = known.members.get("exit_code") if isinstance(known, Class) else None
        if isinstance(code, Attribute) and code.value is not None:
            return f", exit code {ExitCode[str(code.value).rpartition('.')[2]].value}"
    return ""


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(columns)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(_cell(each) for each in line)} |" for line in lines)


def _cell(words: str) -> str:
    return re.sub(r"\s+", " ", words).replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} written\n")
