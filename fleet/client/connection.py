"""`connect`: call a workflow that workers elsewhere run."""

from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from uuid import UUID

from fleet.client.caller import Caller
from fleet.client.handler import WorkflowHandler
from fleet.config import logs
from fleet.config import settings as configuration
from fleet.config.settings import Settings
from fleet.kafka import provision
from fleet.kafka.transport import KafkaTransport
from fleet.records.events import Event
from fleet.records.topics import Topics
from fleet.workflow import call_checks, definition, run_sync
from fleet.workflow.definition import DEFAULT_TIMEOUT_SECONDS, Definition, NoWorkflow, Result_co
from fleet.workflow.errors import WorkflowConfigurationError
from fleet.workflow.workflow import Workflow

R = TypeVar("R")
#: How long a cancel waits until the log says how the run ended, in seconds.
CANCEL_SECONDS = 60.0


class Connection(Generic[Result_co]):
    """A caller of one workflow; use it as `async with connect(JokeFlow) as flow`."""

    def __init__(
        self, workflow: type[Definition[Result_co]], settings: Settings, timeout: float | None
    ) -> None:
        self._workflow = workflow
        self._settings = settings
        self._timeout = timeout
        self._topics = Topics(settings.prefix, workflow.workflow_name, workflow.group_name)
        self._caller: Caller | None = None

    async def __aenter__(self) -> Self:
        logs.calm("aiokafka")
        graph = definition.graph_in_use(self._workflow)
        partitions = await provision.ensure(self._topics, graph, self._settings)
        self._transport = KafkaTransport(
            self._settings,
            self._topics,
            partitions,
        )
        self._caller = Caller(self._workflow, self._topics, self._transport)
        await self._transport.start(self._caller)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._caller is not None:
            self._caller.shut()
            self._caller = None
        await self._transport.stop()

    def run(
        self,
        start_event: Event | None = None,
        /,
        *,
        run_id: str | UUID | None = None,
        timeout: float | None = None,
        **fields: Any,
    ) -> WorkflowHandler[Result_co]:
        """Start a run; see `Workflow.run`."""
        caller = self._connected()
        event = definition.start_event(
            self._workflow, start_event, fields, run_id=run_id, timeout=timeout
        )
        return caller.run(event, run_id, self._timeout if timeout is None else timeout)

    async def send_event(self, run_id: str | UUID, event: Event, step: str | None = None) -> None:
        """Send *event* to a run that any process has started; return when the log has it.

        As `handler.send_event`, without a handler: for the answer to a question that was asked
        hours ago. Nothing looks whether the run exists. Raises UnacceptedEvent if *step* does not
        take *event*.
        """
        caller = self._connected()
        caller.check_event(event, step)
        await caller.send_event(call_checks.run_id(run_id), event, step)

    def handler(self, run_id: str | UUID) -> WorkflowHandler[Result_co]:
        """Return a handler of a run that was begun elsewhere; its stream begins here.

        `await handler` raises RunUnknown if no worker has seen the run, or its end is forgotten. It
        waits for as long as the run takes: use `asyncio.timeout` for a limit of yours.
        """
        return self._connected().attach(run_id).handler

    async def cancel_run(
        self, run_id: str | UUID, reason: str = "", *, timeout: float = CANCEL_SECONDS
    ) -> str:
        """Cancel a run that was begun anywhere; return how it ended.

        That is "cancelled", or what the log had first: "completed", "failed" or "timed_out". If no
        worker has seen the run, or it is forgotten, none with this id will begin. Needs no worker.
        Raises RunUnheard if the log does not say the end within *timeout* seconds.
        """
        return await self._connected().cancel_and_wait(run_id, reason, timeout)

    def _connected(self) -> Caller:
        if self._caller is None:
            raise WorkflowConfigurationError(
                f"not connected; write `async with connect({self._workflow.__name__}) as flow:`"
            )
        return self._caller

    def run_sync(
        self,
        start_event: Event | None = None,
        /,
        *,
        run_id: str | UUID | None = None,
        timeout: float | None = None,
        **fields: Any,
    ) -> Result_co:
        """Connect, make one run and return its result, in a script: see `Workflow.run_sync`."""

        async def once() -> Result_co:
            async with self:
                return await self.run(start_event, run_id=run_id, timeout=timeout, **fields)

        name = self._workflow.__name__
        return run_sync.run(
            once, instead=f"async with connect({name}) as flow: await flow.run(...)"
        )


def connect(
    workflow: type[Workflow[R]],
    *,
    settings: Settings | None = None,
    timeout: float | None = DEFAULT_TIMEOUT_SECONDS,
) -> Connection[R]:
    """Return a connection to the workers of *workflow*; enter it with `async with`.

    A script may call `connect(JokeFlow).run_sync(topic="pirates")` without entering it.

    *timeout*, in seconds, bounds each run; None sets no bound. Entering raises BrokerUnreachable,
    TopicsMissing or TopicsMismatched.
    """
    if not (isinstance(workflow, type) and issubclass(workflow, Definition)):
        raise NoWorkflow("connect", workflow)
    limit = call_checks.timeout(timeout, "a connection's")
    return Connection(workflow, settings or configuration.current(), limit)
