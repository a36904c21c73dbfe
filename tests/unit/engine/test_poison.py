"""One bad step, value or record stops nothing: every kind of raise at every place of user code."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from pydantic import (
    SerializerFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_serializer,
)
from raises import KINDS

from fleet import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowTimeoutError,
    step,
)
from fleet.records.lifecycle import Failed
from fleet.workflow.failing import exceptions

Raise = Callable[[], BaseException]


class Order(StartEvent):
    """Begins a run in which something is raised at a place."""

    place: str = ""


class Part(Event):
    """Passed on between steps."""

    #: Raised by the validator: of the receiver, as the sender's has passed it.
    raises: ClassVar[Raise | None] = None
    place: str = ""

    @field_validator("place")
    @classmethod
    def _check(cls, place: str) -> str:
        if place == "decode" and cls.raises is not None:
            raise cls.raises()
        return place


class Unwritten(StopEvent):
    """Cannot be encoded, in one way or another."""

    raises: ClassVar[Raise] = ValueError
    place: str = ""

    @model_serializer(mode="wrap")
    def _whole(self, handler: SerializerFunctionWrapHandler) -> Any:
        if self.place == "encode":
            raise type(self).raises()
        return handler(self)

    @field_serializer("place")
    def _written(self, place: str) -> str:
        if place == "serializer":
            raise type(self).raises()
        return place


class Poisoned(Workflow):
    """A workflow whose second step raises where the start event says."""

    raises: Raise = KINDS["error"]
    begun: int = 0

    @step
    async def begin(self, ev: Order) -> Part:
        return Part.model_construct(place=ev.place)

    @step
    async def work(self, ctx: Context, ev: Part) -> Unwritten:
        self.begun += 1
        match ev.place:
            case "step":
                raise type(self).raises()
            case "later":
                await asyncio.sleep(0)
                raise type(self).raises()
            case "subtask":
                await asyncio.gather(_raise(type(self).raises), asyncio.sleep(0))
            case "stream":
                ctx.write_event_to_stream(Unwritten(place="encode"))
            case "state":
                await ctx.store.set("a", Unwritten(place="serializer"))
            case _:
                await ctx.store.set("a", "fine")
        return Unwritten(place=ev.place, result=ctx.run_id)


def _fail(raises: Raise) -> None:
    raise raises()


async def _raise(raises: Raise) -> None:
    await asyncio.sleep(0)
    raise raises()


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Iterator[Raise]:
    """What is raised."""
    made = KINDS[request.param]
    Part.raises = Unwritten.raises = Poisoned.raises = staticmethod(made)
    yield made
    Part.raises = None


#: What a task of the user's own raises of these kinds ends the loop, whatever we do.
LOOP_ENDS = (SystemExit, KeyboardInterrupt)


@pytest.mark.parametrize(
    "place",
    ["step", "later", "subtask", "encode", "serializer", "stream", "state", "decode"],
)
async def test_whatever_is_raised_is_the_end_of_its_run_alone(kind: Raise, place: str) -> None:
    """The run fails, its neighbours complete and are not begun again, and others run later."""
    if place == "subtask" and issubclass(type(kind()), LOOP_ENDS):
        pytest.skip("asyncio ends the loop for what a task of the user's own raises")
    flow = Poisoned(timeout=20)
    runs = [flow.run(place=each) for each in ("", place, "")]

    before, poisoned, after = await asyncio.gather(*runs, return_exceptions=True)

    assert isinstance(before, StopEvent)
    assert isinstance(after, StopEvent)
    assert issubclass(type(poisoned), BaseException)
    assert not issubclass(type(poisoned), WorkflowTimeoutError)
    assert flow.begun == (2 if place == "decode" else 3)
    assert isinstance(await flow.run(place=""), StopEvent)


def test_every_kind_becomes_data_and_an_error_again(kind: Raise) -> None:
    """It is told as far as it can be, in less than a record holds."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - that is what is tested
        _fail(kind)
    told = exceptions.describe(caught.value)
    assert told.type
    assert len(told.model_dump_json()) < 900_000
    failed = Failed(step="work", event_id="e", failure=told)
    assert type(exceptions.revive(failed, "r")).__mro__[-2] is BaseException


async def test_a_step_that_cancels_its_own_task_has_failed() -> None:
    """Tool libraries do it; the attempt ends, and nobody waits for it in vain."""

    class Suicidal(Workflow):
        @step
        async def work(self, ev: StartEvent) -> StopEvent:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
            return StopEvent()

    with pytest.raises(Exception, match="CancelledError"):
        await Suicidal(timeout=20).run()
