"""`WorkflowTestRunner`: makes a run and collects what it shows."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from fleet.records.events import Event
from fleet.workflow.definition import Result_co

if TYPE_CHECKING:
    from fleet.client.handler import WorkflowHandler
    from fleet.client.run_context import RunContext

E = TypeVar("E", bound=Event)


class Runs(Protocol[Result_co]):
    """What a runner runs: a workflow, in memory or on an app, or what `connect` gives."""

    # Its parameters differ: a connection has no `timeout` of its own.
    @property
    def run(self) -> Any:
        """Starts a run; returns its handler."""
        ...


@dataclass(frozen=True)
class WorkflowTestResult(Generic[Result_co]):
    """What a run has given."""

    #: The events of its stream, in order.
    collected: list[Event]
    #: How many of each type are among them.
    event_types: dict[type[Event], int]
    #: What `await handler` gives.
    result: Result_co
    #: The context that it ended with: `await result.ctx.store.get("key")`.
    ctx: "RunContext"

    def of(self, event_type: type[E]) -> list[E]:
        """Return the collected events of a type, subclasses included."""
        return [event for event in self.collected if isinstance(event, event_type)]


class WorkflowTestRunner(Generic[Result_co]):
    """Makes runs of one workflow for a test: `await WorkflowTestRunner(JokeFlow()).run(topic="x")`.

    The workflow runs in memory; one with `app=`, or the flow that `connect` gives, runs on Kafka.
    """

    def __init__(self, workflow: Runs[Result_co]) -> None:
        self._workflow = workflow
        #: What the last run has shown; also of one that has failed.
        self.collected: list[Event] = []

    async def run(
        self,
        start_event: Event | None = None,
        *,
        expose_internal: bool = True,
        exclude_events: Collection[type[Event]] | None = None,
        **options: Any,
    ) -> WorkflowTestResult[Result_co]:
        """Make a run, collect its events until it ends, and return them with its result.

        *options* are those of `Workflow.run`: `run_id`, `timeout`, and the fields of the start
        event. *expose_internal* as in `stream_events`. *exclude_events* are exact types that are
        not collected. Raises what `await handler` raises; what was shown before that is in
        `collected`.
        """
        given = () if start_event is None else (start_event,)
        handler: WorkflowHandler[Result_co] = self._workflow.run(*given, **options)
        self.collected = []
        async for event in handler.stream_events(expose_internal=expose_internal):
            if type(event) not in (exclude_events or ()):
                self.collected.append(event)
        result = await handler
        counted = dict(Counter(type(event) for event in self.collected))
        return WorkflowTestResult(self.collected, counted, result, handler.ctx)
