"""Classes that break a rule; the functions make them, and each breaks one."""

from typing import Annotated, Any

from pydantic import BaseModel

from fleet import (
    Collect,
    Context,
    Event,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Take,
    Workflow,
    catch_error,
    step,
)


class A(Event):
    n: int = 0


class B(Event):
    n: int = 0


class Begin(StartEvent):
    pass


class Cat(BaseModel):
    lives: int = 9


class Dog(BaseModel):
    name: str = "Rex"


def no_event_parameter() -> Any:
    class NoEventParameter(Workflow):
        @step
        async def begin(self, ctx: Context) -> StopEvent:
            return StopEvent()

    return NoEventParameter


def no_return_annotation() -> Any:
    class NoReturnAnnotation(Workflow):
        @step
        async def begin(self, ev: StartEvent):  # type: ignore[no-untyped-def]
            return StopEvent()

    return NoReturnAnnotation


def no_workers() -> Any:
    class NoWorkers(Workflow):
        @step(num_workers=0)
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    return NoWorkers


def half_a_worker() -> Any:
    class HalfAWorker(Workflow):
        @step(num_workers=0.5)  # type: ignore[call-overload, untyped-decorator]
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    return HalfAWorker


def free_without_a_workflow() -> Any:
    @step
    async def begin(ev: StartEvent) -> StopEvent:
        return StopEvent()

    return begin


def no_step_to_add() -> Any:
    class AddsNoStep(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    async def another(ev: StartEvent) -> None:
        return None

    AddsNoStep.add_step(another)
    return AddsNoStep


def step_added_twice() -> Any:
    class AddsTwice(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    @step(workflow=AddsTwice)
    async def begin(ev: StartEvent) -> StopEvent:
        return StopEvent()

    return AddsTwice


def union_in_a_join() -> Any:
    class UnionInAJoin(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> A | B | Begin | None:
            return None

        @step
        async def page(self, a: A, b: B | Begin) -> StopEvent:
            return StopEvent()

    return UnionInAJoin


def two_lists() -> Any:
    class TwoLists(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[A | B]:
            return []

        @step
        async def page(self, first: list[A], second: list[B]) -> StopEvent:
            return StopEvent()

    return TwoLists


def list_and_event() -> Any:
    class ListAndEvent(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[A | B]:
            return []

        @step
        async def page(self, first: list[A], second: B) -> StopEvent:
            return StopEvent()

    return ListAndEvent


def collect_of_no_list() -> Any:
    class CollectOfNoList(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[A]:
            return []

        @step
        async def page(self, ev: Annotated[A, Collect()]) -> StopEvent:
            return StopEvent()

    return CollectOfNoList


def take_of_none() -> Any:
    return Take(0)


def take_of_text() -> Any:
    return Take("2")  # type: ignore[arg-type]


def no_start() -> Any:
    class NoStart(Workflow):
        @step
        async def begin(self, ev: A) -> StopEvent:
            return StopEvent()

        @step
        async def again(self, ev: B) -> A | B:
            return A()

    return NoStart


def two_starts() -> Any:
    class TwoStarts(Workflow):
        @step
        async def begin(self, ev: Begin) -> A:
            return A()

        @step
        async def begin_too(self, ev: StartEvent) -> A:
            return A()

        @step
        async def end(self, ev: A) -> StopEvent:
            return StopEvent()

    return TwoStarts


def no_stop() -> Any:
    class NoStop(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> None:
            return None

    return NoStop


def no_concurrent_runs() -> Any:
    class NoConcurrentRuns(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    return NoConcurrentRuns(num_concurrent_runs=0)


def unknown_check() -> Any:
    class UnknownCheck(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    return UnknownCheck(skip_graph_checks={"spelling"})


def accepts_stop() -> Any:
    class AcceptsStop(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

        @step
        async def after(self, ev: StopEvent) -> StopEvent:
            return StopEvent()

    return AcceptsStop


def never_produced() -> Any:
    class NeverProduced(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

        @step
        async def orphan(self, ev: A) -> StopEvent:
            return StopEvent()

    return NeverProduced


def never_consumed() -> Any:
    class NeverConsumed(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> A | StopEvent:
            return StopEvent()

    return NeverConsumed


def unreachable() -> Any:
    class Unreachable(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

        @step
        async def island(self, ev: A) -> B | StopEvent:
            return B()

        @step
        async def bridge(self, ev: B) -> A:
            return A()

    return Unreachable


def dead_end() -> Any:
    class DeadEnd(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> A | StopEvent:
            return A()

        @step
        async def to_b(self, ev: A) -> B:
            return B()

        @step
        async def to_a(self, ev: B) -> A:
            return A()

    return DeadEnd


def both_at_once() -> Any:
    class BothAtOnce(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> A | StopEvent:
            return A()

        @step
        async def circle(self, ev: A) -> A:
            return A()

        @step
        async def island(self, ev: B) -> B | StopEvent:
            return B()

    return BothAtOnce


def join_without_a_list() -> Any:
    class JoinWithoutAList(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> A:
            return A()

        @step
        async def page(self, parts: list[A]) -> StopEvent:
            return StopEvent()

    return JoinWithoutAList


def parts_of_two_levels() -> Any:
    class PartsOfTwoLevels(Workflow):
        @step
        async def split(self, ev: StartEvent) -> list[A]:
            return []

        @step
        async def top(self, ev: StartEvent) -> B:
            return B()

        @step
        async def page(self, a: A, b: B) -> StopEvent:
            return StopEvent()

    return PartsOfTwoLevels


def two_states() -> Any:
    class TwoStates(Workflow):
        @step
        async def begin(self, ctx: Context[Cat], ev: StartEvent) -> A:
            return A()

        @step
        async def end(self, ctx: Context[Dog], ev: A) -> StopEvent:
            return StopEvent()

    return TwoStates


def handler_of_another_event() -> Any:
    class HandlerOfAnotherEvent(Workflow):
        @catch_error
        async def rescue(self, ev: A) -> StopEvent:
            return StopEvent()

    return HandlerOfAnotherEvent


def handler_of_two_events() -> Any:
    class HandlerOfTwoEvents(Workflow):
        @catch_error
        async def rescue(self, ev: StepFailedEvent | A) -> StopEvent:
            return StopEvent()

    return HandlerOfTwoEvents


def no_recoveries() -> Any:
    class NoRecoveries(Workflow):
        @catch_error(max_recoveries=0)
        async def rescue(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent()

    return NoRecoveries


def steps_as_text() -> Any:
    class StepsAsText(Workflow):
        @catch_error(for_steps="begin")  # type: ignore[call-overload, untyped-decorator]
        async def rescue(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent()

    return StepsAsText


class _Handled(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        return StopEvent()


def two_wild_handlers() -> Any:
    class TwoWildHandlers(_Handled):
        @catch_error
        async def one(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent()

        @catch_error
        async def other(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent()

    return TwoWildHandlers


def handler_of_no_step() -> Any:
    class HandlerOfNoStep(_Handled):
        @catch_error(for_steps=["elsewhere"])
        async def rescue(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent()

    return HandlerOfNoStep


def step_with_two_handlers() -> Any:
    class StepWithTwoHandlers(_Handled):
        @catch_error(for_steps=["begin"])
        async def one(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent()

        @catch_error(for_steps=["begin"])
        async def other(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent()

    return StepWithTwoHandlers


def handler_of_a_handler() -> Any:
    class HandlerOfAHandler(_Handled):
        @catch_error(for_steps=["begin"])
        async def one(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent()

        @catch_error(for_steps=["one"])
        async def other(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent()

    return HandlerOfAHandler


def failures_without_a_handler() -> Any:
    class FailuresWithoutAHandler(_Handled):
        @step
        async def rescue(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent()

    return FailuresWithoutAHandler
