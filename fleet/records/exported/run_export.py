"""The document of a run: its records, and what the state of its step group has of it."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from fleet.records import lifecycle
from fleet.records.envelope import BrokenEnvelope, Envelope, parse
from fleet.records.errors import ExitCode, FleetError
from fleet.records.events import problems
from fleet.records.exported.content import Content
from fleet.records.lifecycle import Lifecycle, StepRecord, UnknownLifecycle
from fleet.records.log import Delivered

#: The version of the document that this one writes and reads.
FORMAT = 1


class NotAnExport(FleetError):
    """Raised for a file or an object that is no export of a run.

    What to do: Write one with `fleet runs export WORKFLOW RUN_ID > run.json`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(
            f"{what} is no export of a run: {reason}; "
            "write one with `fleet runs export WORKFLOW RUN_ID > run.json`"
        )


def _written_headers(headers: list[tuple[str, bytes]]) -> list[tuple[str, str]]:
    return [(name, value.decode(errors="replace")) for name, value in headers]


class ExportedRecord(BaseModel):
    """One record of the run."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    topic: str
    offset: int
    #: The broker's append time, in unix milliseconds.
    appended_ms: int
    headers: Annotated[list[tuple[str, bytes]], PlainSerializer(_written_headers)]
    value: Content
    #: The step group is not done with it.
    open: bool = False

    @property
    def envelope(self) -> Envelope:
        """Its envelope; raises BrokenEnvelope."""
        return parse(self.headers)

    def delivered(self, run_id: str, partition: int) -> Delivered:
        """Return the record as its topic delivered it."""
        place = self.topic, partition, self.offset, self.appended_ms
        return Delivered(*place, run_id.encode(), self.value, self.headers)


def _key(given: Any) -> Any:
    return "\0".join(given).encode() if isinstance(given, list) else given


def _written_key(key: bytes) -> list[str]:
    return key.decode(errors="replace").split("\0")


class ExportedEntry(BaseModel):
    """One entry of the state; a document has the parts of its key, see `fleet.records.state`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: Annotated[bytes, BeforeValidator(_key), PlainSerializer(_written_key)]
    value: Content


class RunExport(BaseModel):
    """Everything that the log has of one run."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    fleet_run_export: Literal[1] = 1
    #: The version of Fleet that wrote it.
    fleet: str = ""
    run_id: str
    workflow: str
    group: str
    prefix: str
    #: `module:Class`.
    workflow_class: str
    partition: int = 0
    #: When it was read, in unix milliseconds.
    exported_ms: int = 0
    #: `running`, or how the run ended.
    outcome: str
    #: What a reader would expect and the log does not have, in sentences.
    missing: list[str] = []
    #: Of the event topics and the inbox, in the order of their time.
    events: list[ExportedRecord] = []
    #: Of the `runs` topic.
    lifecycle: list[ExportedRecord] = []
    #: The attempts of its steps: of the `history` topic.
    history: list[ExportedRecord] = []
    #: What its step group keeps of it: context, suspended work, recorded calls, joins.
    state: list[ExportedEntry] = []

    def in_order(self) -> Iterator[tuple[ExportedRecord, Envelope]]:
        """Yield the events with their envelopes; pass over records that have none."""
        return _enveloped(self.events)

    def happenings(self) -> Iterator[tuple[ExportedRecord, Envelope, Lifecycle]]:
        """Yield what happened to the run; pass over records that this version cannot read."""
        for record, envelope in _enveloped(self.lifecycle):
            try:
                yield record, envelope, lifecycle.decode(envelope.type, record.value)
            except UnknownLifecycle:
                continue

    def attempts(self) -> list[StepRecord]:
        """Return the attempts of its steps, in the order in which they began."""
        found = []
        for record in self.history:
            try:
                found.append(StepRecord.decode(record.value))
            except ValidationError:
                continue
        return sorted(found, key=lambda attempt: attempt.started)

    def to_json(self) -> str:
        """Return the document."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False)

    @classmethod
    def of(cls, source: "str | os.PathLike[str] | Mapping[str, Any] | RunExport") -> Self:
        """Read an export: a path, what its JSON says, or an export. Raises NotAnExport."""
        if isinstance(source, cls):
            return source
        is_file = isinstance(source, str | os.PathLike)
        what = f"{os.fspath(source)!r}" if is_file else "the object"  # type: ignore[arg-type]
        try:
            found = json.loads(Path(source).read_bytes()) if is_file else source  # type: ignore[arg-type]
        except (OSError, ValueError) as failure:
            raise NotAnExport(what, str(failure)) from None
        if not isinstance(found, Mapping) or "fleet_run_export" not in found:
            raise NotAnExport(what, "it has no field fleet_run_export")
        if found["fleet_run_export"] != FORMAT:
            version = found["fleet_run_export"]
            raise NotAnExport(what, f"this version reads format {FORMAT}, and it has {version!r}")
        try:
            return cls.model_validate(found)
        except ValidationError as failure:
            raise NotAnExport(what, problems(failure)) from None


def _enveloped(records: Iterable[ExportedRecord]) -> Iterator[tuple[ExportedRecord, Envelope]]:
    for record in records:
        try:
            yield record, record.envelope
        except BrokenEnvelope:
            continue
