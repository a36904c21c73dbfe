"""`handler.ctx`: the context of a run as its caller sees it, while the run goes on and after it."""

from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

from fleet.records import paths, printable
from fleet.workflow.context import OfOneRun
from fleet.workflow.context_state.reader import Reader
from fleet.workflow.errors import ContextStateError

if TYPE_CHECKING:
    import asyncio

    from fleet.client.handler import WorkflowHandler
    from fleet.records.events import Event

_MISSING = paths.MISSING
#: Names that a context has in steps alone, and what to write here.
_IN_STEPS = {
    "cancel": "await handler.cancel_run()",
    "collect_events": "call it in a step",
    "get_result": "await the handler",
    "is_done": "handler.is_done()",
    "log": "use a logger of your own",
    "stream_events": "handler.stream_events()",
    "wait_for_event": "call it in a step",
    "write_event_to_stream": "call it in a step",
}


class ReadOnlyContext(ContextStateError):
    """Raised when a caller changes the context of a run: only steps can.

    What to do: Send the run an event, `handler.send_event(event)`. Let a step that takes it change
    the context.
    """

    def __init__(self, method: str) -> None:
        super().__init__(
            f"handler.ctx.store.{method}() is for steps, and a caller reads; send the run an event "
            f"with handler.send_event(event), and let a step that takes it call "
            f"ctx.store.{method}()"
        )


class ContextNotKept(ContextStateError):
    """Raised when a completed run's context was too large to be kept with its result.

    What to do: Return what you need in the result, or read the context before the run ends: when a
    step shows an event, for example.
    """

    def __init__(self, run_id: str, size: int, limit: int) -> None:
        super().__init__(
            f"run {printable.line(run_id)} has completed, and its context of {size:,} bytes was "
            f"not kept with the result (the limit is {limit:,}); return what you need in the "
            "result, or read the context before the run ends"
        )


class ContextGone(ContextStateError):
    """Raised when a run ended so long ago that its context was forgotten.

    What to do: Read the context within `FLEET_RESUME_DAYS` after a run failed, was cancelled or
    timed out.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"run {printable.line(run_id)} ended so long ago that nothing is kept of its context; "
            "read it within FLEET_RESUME_DAYS"
        )


class FinalContext(NamedTuple):
    """The context that a run's result came with."""

    #: As a JSON object; empty if there is none.
    text: str
    #: Its size in bytes if it was too large, else 0.
    size: int


class ContextSource(Protocol):
    """Where the context of a run is read."""

    async def read_context(self, handler: "WorkflowHandler[Any]") -> Reader:
        """Return what is committed of the context; raise ContextNotKept or ContextGone."""
        ...

    async def running_steps(self, run_id: str) -> list[str]:
        """Return the names of the run's steps that run now."""
        ...


class RunContext(OfOneRun):
    """What `handler.ctx` has."""

    def __init__(self, handler: "WorkflowHandler[Any]", source: ContextSource) -> None:
        #: The run's id.
        self.run_id = handler.run_id
        #: The run's values, to be read.
        self.store = RunStore(handler, source)
        self._handler = handler
        self._source = source

    @property
    def is_running(self) -> bool:
        """Whether the run goes on, as far as this handler has heard."""
        return not self._handler.is_done()

    def send_event(self, event: "Event", step: str | None = None) -> "asyncio.Task[None]":
        """Send *event* to the run; see `handler.send_event`."""
        return self._handler.send_event(event, step)

    async def running_steps(self) -> list[str]:
        """Return the names of the run's steps that run now, sorted."""
        return [] if self._handler.is_done() else await self._source.running_steps(self.run_id)

    if not TYPE_CHECKING:
        # With this, type checkers would accept any name.
        def __getattr__(self, name: str) -> NoReturn:
            way = f"; {_IN_STEPS[name]}" if name in _IN_STEPS else ""
            raise AttributeError(f"handler.ctx has no attribute {name!r}{way}", name=name, obj=self)


class RunStore:
    """Reads the values of a run: what is committed, and after its end what was the last.

    On Kafka the first look at a run reads one partition of the group's changelog: to look at a run
    now and then, and not to wait for a value. For that let a step show an event.
    """

    def __init__(self, handler: "WorkflowHandler[Any]", source: ContextSource) -> None:
        self._handler = handler
        self._source = source

    async def get(self, path: str, default: Any = _MISSING) -> Any:
        """Return the value at *path*; raise ValueError if there is none and no *default*."""
        return (await self._read()).get(path, default)

    async def get_state(self) -> Any:
        """Return the state: an object of the model that the steps name, or a DictState."""
        return (await self._read()).state()

    async def to_dict(self) -> dict[str, Any]:
        """Return all values that were set, as JSON has them, in one nested dictionary."""
        return (await self._read()).values.whole()

    async def set(self, _path: str, _value: Any) -> NoReturn:
        """Refused: raises ReadOnlyContext."""
        raise ReadOnlyContext("set")

    async def set_state(self, _state: Any) -> NoReturn:
        """Refused: raises ReadOnlyContext."""
        raise ReadOnlyContext("set_state")

    async def delete(self, _path: str) -> NoReturn:
        """Refused: raises ReadOnlyContext."""
        raise ReadOnlyContext("delete")

    async def clear(self) -> NoReturn:
        """Refused: raises ReadOnlyContext."""
        raise ReadOnlyContext("clear")

    def edit_state(self) -> NoReturn:
        """Refused: raises ReadOnlyContext."""
        raise ReadOnlyContext("edit_state")

    async def _read(self) -> Reader:
        return await self._source.read_context(self._handler)
