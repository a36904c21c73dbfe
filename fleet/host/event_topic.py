"""
A workflow's events for Faust agents: `flow.topic(JokeEvent)`.

An agent reads them typed, as the steps do. Sending also writes what the engine needs: envelope, key
and partition. It is a Faust topic, for `@app.agent`, `app.stream` and `sink=[...]`.
"""

import uuid
from typing import Any
from uuid import UUID

import faust
from faust.events import Event as FaustEvent
from faust.exceptions import KeyDecodeError, ValueDecodeError
from faust.streams import current_event

from fleet.config import logs
from fleet.engine.step_group import Engine
from fleet.kafka import provision
from fleet.records import envelope as envelopes
from fleet.records.envelope import BrokenEnvelope, Envelope
from fleet.records.events import Event, UndecodableEvent, decoded, encoded, type_name
from fleet.records.partitions import partition_of
from fleet.workflow import call_checks
from fleet.workflow.errors import WorkflowConfigurationError

_log = logs.get_logger("workflow_topic")


class EventSchema(faust.Schema[str, Event]):
    """How Faust reads and writes the events of one type."""

    def __init__(self, event_type: type[Event]) -> None:
        super().__init__()
        self.event_type = event_type

    def loads_key(self, app: Any, message: Any, **_: Any) -> str:
        """Return the run id; raise KeyDecodeError if the key is none."""
        try:
            return (message.key or b"").decode()
        except ValueError as failure:
            raise KeyDecodeError(str(failure)) from None

    def loads_value(self, app: Any, message: Any, **_: Any) -> Event:
        """Return the event; raise ValueDecodeError if the record is none."""
        try:
            envelopes.parse(message.headers)
            return decoded(self.event_type, message.value or b"")
        except (BrokenEnvelope, UndecodableEvent) as failure:
            raise ValueDecodeError(str(failure)) from None

    def dumps_key(self, app: Any, key: Any, *, headers: Any, **_: Any) -> Any:
        """Return the key unchanged: `WorkflowTopic.send` has made it."""
        return key, headers

    def dumps_value(self, app: Any, value: Any, *, headers: Any, **_: Any) -> Any:
        """Return the event's bytes."""
        return encoded(value), headers


class WorkflowTopic(faust.Topic):
    """The events of one type of one workflow; made by `Workflow.topic`."""

    def __init__(
        self, app: Any, *, events: "EventTopics", schema: EventSchema, **options: Any
    ) -> None:
        self.events = events
        # Channels of one value type share the value that the first of them decodes.
        options["value_type"] = schema.event_type
        super().__init__(app, schema=schema, **options)

    @property
    def event_type(self) -> type[Event]:
        """The type of its events."""
        schema: EventSchema = self.schema  # type: ignore[assignment]
        return schema.event_type

    def _clone_args(self) -> Any:
        return {**super()._clone_args(), "events": self.events}

    async def send(  # type: ignore[override]  # a run instead of a key, and no partition
        self,
        *,
        value: Event,
        run_id: str | UUID | None = None,
        timeout: float | None = None,
        key: Any = None,
        headers: Any = None,
        **_options: Any,
    ) -> Any:
        """Send *value* to the run *run_id*; return when the broker has it.

        Without a run id, a start event starts a new run (within *timeout* seconds, else the
        workflow's), and any other event goes to the run of the event that the agent handles. Raises
        WorkflowConfigurationError if there is no such run, or *value* is of another type.
        """
        if type(value) is not self.event_type:
            raise WorkflowConfigurationError(
                f"{self} takes {type_name(self.event_type)}, not {type(value).__name__}"
            )
        envelope = self.events.envelope(value, run_id, timeout)
        promise = self.as_future_message(
            key=envelope.run_id.encode(),
            value=value,
            partition=partition_of(envelope.run_id, await self.events.partitions()),
            headers=envelope.headers(),
        )
        return await self.publish_message(promise, wait=True)

    def send_soon(self, **_: Any) -> Any:
        """Refused: an event in a buffer is lost with the process."""
        raise WorkflowConfigurationError(f"use `await flow.topic(...).send(...)` for {self}")

    def derive_topic(self, **_: Any) -> Any:
        """Refused: the engine names the topics of its events."""
        raise WorkflowConfigurationError(f"{self} cannot be derived from; use `app.topic`")

    async def on_key_decode_error(self, exc: Any, message: Any) -> None:
        """Skip the record; the workflow has a dead letter for it."""
        self._skipped(exc, message)

    async def on_value_decode_error(self, exc: Any, message: Any) -> None:
        """Skip the record; the workflow has a dead letter for it."""
        self._skipped(exc, message)

    def _skipped(self, exc: Any, message: Any) -> None:
        _log.warning(
            "agent_record_skipped",
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            reason=str(exc),
        )


class EventTopics:
    """The event topics of one workflow on one app."""

    def __init__(self, app: Any, engine: Engine, timeout_seconds: float | None) -> None:
        self._app = app
        self._engine = engine
        self._timeout_seconds = timeout_seconds
        self._partitions = 0

    def topic(self, event_type: type[Event]) -> WorkflowTopic:
        """Return the topic of *event_type*.

        Raises WorkflowConfigurationError if no step accepts such events: then there is no topic.
        """
        accepting = self._engine.step_group.graph.accepting
        name = type_name(event_type)
        if name not in accepting:
            raise WorkflowConfigurationError(
                f"{self._engine.topics.engine_id} has no topic of {name}: no step accepts it; "
                f"there are {', '.join(sorted(accepting))}"
            )
        return WorkflowTopic(
            self._app,
            events=self,
            schema=EventSchema(event_type),
            topics=[self._engine.topics.event(name)],
        )

    def envelope(self, event: Event, run_id: str | UUID | None, timeout: float | None) -> Envelope:
        """Return the envelope of *event*."""
        name = type_name(event)
        event_id = uuid.uuid4().hex
        if run_id is not None:
            run_id = call_checks.run_id(run_id)
        if name == type_name(self._engine.step_group.graph.start):
            return Envelope(
                run_id=uuid.uuid4().hex if run_id is None else run_id,
                event_id=event_id,
                type=name,
                timeout_seconds=(
                    self._timeout_seconds if timeout is None else call_checks.timeout(timeout)
                ),
            )
        at = _current_envelope()
        if at is not None and run_id in (None, at.run_id):
            return Envelope(run_id=at.run_id, event_id=event_id, type=name, epoch=at.epoch)
        if run_id is None:
            raise WorkflowConfigurationError(
                f"this {name} needs a run: write send(run_id=..., value=...), or send it while an "
                "agent handles an event of the run"
            )
        return Envelope(run_id=run_id, event_id=event_id, type=name)

    async def partitions(self) -> int:
        """Return the partition count of the workflow's topics, which exist afterwards."""
        if not self._partitions:
            engine = self._engine
            self._partitions = engine.partitions or await provision.ensure(
                engine.topics, engine.step_group.graph, engine.settings
            )
        return self._partitions


def _current_envelope() -> Envelope | None:
    """Return the envelope of the event that the running agent handles, if it has one."""
    event = current_event()
    if not isinstance(event, FaustEvent):
        return None
    try:
        return envelopes.parse(event.headers.items())
    except BrokenEnvelope:
        return None
