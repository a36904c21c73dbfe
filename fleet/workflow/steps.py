"""
A step as its annotations describe it: what it takes, what it gives, how it is called.

`marking` has the decorator, `signature` reads the annotations, `graph` checks how steps fit
together.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Concatenate

from pydantic import BaseModel

from fleet.records.events import Event, StopEvent, type_name
from fleet.workflow.collect import Collect
from fleet.workflow.context import Context
from fleet.workflow.errors import BareReturned, OtherReturned, UnexpectedResult
from fleet.workflow.failing.catching import Catches
from fleet.workflow.failing.retrying import RetryPolicy
from fleet.workflow.resources.providers import Provider

#: `async def`, or a plain function, which runs in a thread.
StepFunction = Callable[Concatenate[Any, ...], Any]

#: Makes a call of a step's function, or something else: it gets the call, the workflow, the context
#: and the events that the step takes. What it returns is as what the function returns.
Around = Callable[[Callable[[], Any], object, Context, tuple[Any, ...]], Any]

#: What a test puts around the calls of a function, the innermost first; see `fleet.testing`.
AROUND: dict[StepFunction, list[Around]] = {}

#: Attempts of one step that one run may have in flight.
DEFAULT_NUM_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of `@step(...)`."""

    num_workers: int = DEFAULT_NUM_WORKERS
    timeout_seconds: float | None = None
    #: None: that of its workflow.
    retry_policy: RetryPolicy | None = None
    #: Names of checks that find nothing about this step.
    skip_graph_checks: frozenset[str] = frozenset()
    #: Whether it takes subclasses of the types that it names, too.
    accept_event_subclasses: bool = False
    #: Names that it had, the oldest first.
    formerly: tuple[str, ...] = ()
    #: Not None if it handles the failures of other steps.
    catches: Catches | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """One event parameter of a step."""

    parameter: str
    types: tuple[type[Event], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a workflow."""

    #: As the log and the state know it: the name of its function, or the oldest that it had.
    name: str
    function: StepFunction
    options: Options
    #: One; several if it joins them, `a: A, b: B`.
    slots: tuple[Slot, ...]
    #: None if the step does not ask for a context.
    context_parameter: str | None = None
    #: What it names in `ctx: Context[MyState]`; None if it names nothing.
    state_model: type[BaseModel] | None = None
    #: Event types it may return outside of a list; None in an annotation is not listed.
    bare: tuple[type[Event], ...] = ()
    #: E of `-> list[E]`; empty if it returns no list.
    fans_out: tuple[type[Event], ...] = ()
    #: Whether the annotation has None: the branch may end with this step.
    may_end: bool = True
    #: Not None if its one slot is `list[E]`.
    collect: Collect | None = None
    #: Whether its function is outside of a class, and so takes no workflow.
    is_free: bool = False
    #: Who makes what it takes beside events, by parameter.
    resources: tuple[tuple[str, Provider], ...] = ()
    #: The name of its function, if that is not `name`.
    renamed: str = ""

    @property
    def shown(self) -> str:
        """The name of its function, as users know it."""
        return self.renamed or self.name

    @property
    def names(self) -> tuple[str, ...]:
        """All its names, the oldest first."""
        return (*self.options.formerly, self.shown)

    def called(self, name: str) -> "Step":
        """Return it as the log knows it by another of its names."""
        return self if name == self.name else replace(self, name=name)

    @property
    def accepts(self) -> tuple[type[Event], ...]:
        """The event types of all its slots."""
        return tuple(dict.fromkeys(event for slot in self.slots for event in slot.types))

    @property
    def returns(self) -> tuple[type[Event], ...]:
        """Every event type it may return, members of lists included."""
        return tuple(dict.fromkeys((*self.fans_out, *self.bare)))

    @property
    def is_plain(self) -> bool:
        """Whether it is no `async def`: it runs in a thread."""
        return not inspect.iscoroutinefunction(self.function)

    @property
    def is_join(self) -> bool:
        """Whether it begins with several events."""
        return self.collect is not None or len(self.slots) > 1

    def takes(self, event_type: type[Event]) -> bool:
        """Tell whether an event of exactly this type is for it."""
        return any(self.takes_as(event_type, accepted) for accepted in self.accepts)

    def takes_as(self, event_type: type[Event], accepted: type[Event]) -> bool:
        """Tell whether an event of exactly this type is an *accepted* to it."""
        if event_type is accepted:
            return True
        # A StopEvent ends the run, also if a step takes every Event.
        inherits = self.options.accept_event_subclasses and issubclass(event_type, accepted)
        return inherits and not issubclass(event_type, StopEvent)

    def check_returned(self, returned: object, *, has_sent: bool) -> None:
        """Raise if an attempt *returned* something other than the annotation says.

        None is fine if the attempt sent events instead (*has_sent*).
        """
        if returned is None:
            if not self.may_end and not has_sent:
                raise OtherReturned(self.shown, "None", self._stated())
        elif isinstance(returned, list) and self.fans_out:
            self._check_members(returned)
        elif not isinstance(returned, Event):
            raise UnexpectedResult(self.shown, returned)
        elif not isinstance(returned, self.bare):
            wrong = BareReturned if isinstance(returned, self.fans_out) else OtherReturned
            raise wrong(self.shown, type_name(returned), self._stated())

    def bind(self, workflow: object, context: Context, arguments: Mapping[str, Any]) -> Any:
        """Return the coroutine of one attempt; of a plain function, what it returns.

        *arguments* has an event, or a list of events, for the parameter of each slot, and a value
        for each resource.
        """
        events = tuple(arguments[slot.parameter] for slot in self.slots)
        if self.context_parameter is not None:
            arguments = {**arguments, self.context_parameter: context}
        of_workflow = () if self.is_free else (workflow,)
        call = partial(self.function, *of_workflow, **arguments)
        for around in AROUND.get(self.function, ()):
            call = partial(around, call, workflow, context, events)
        return call()

    def _check_members(self, returned: list[object]) -> None:
        for member in returned:
            if not isinstance(member, Event):
                raise UnexpectedResult(self.shown, member, in_list=True)
            if not isinstance(member, self.fans_out):
                raise OtherReturned(self.shown, f"list[{type_name(member)}]", self._stated())

    def _stated(self) -> list[str]:
        members = " | ".join(type_name(kind) for kind in self.fans_out)
        listed = [f"list[{members}]"] if members else []
        return [*listed, *(type_name(kind) for kind in self.bare)]
