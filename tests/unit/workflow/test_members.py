"""Which members of a class are its steps: inherited, replaced, taken away, added from outside."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from fleet import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowConfigurationError,
    WorkflowValidationError,
    serve,
    step,
)
from fleet.workflow import definition


class Asked(Event):
    text: str = ""


class Ended(Event):
    text: str = ""


def names(workflow: type[Workflow]) -> list[str]:
    """Return the names of a workflow's steps."""
    return [one.name for one in definition.graph(workflow).steps]


class Base(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> Asked:
        return Asked(text="base")

    @step
    async def end(self, ev: Asked) -> StopEvent:
        return StopEvent(result=ev.text)


class TestInherited:
    async def test_a_replaced_step_takes_and_gives_what_its_own_annotations_say(self) -> None:
        """The base's annotations of that step are gone with it."""

        class Heir(Base):
            @step
            async def begin(self, ev: StartEvent) -> Ended:  # type: ignore[override]
                return Ended(text="heir")

            @step
            async def end(self, ev: Ended) -> StopEvent:  # type: ignore[override]
                return StopEvent(result=ev.text)

        assert names(Heir) == ["begin", "end"]
        assert await Heir().run() == "heir"
        assert await Base().run() == "base"

    def test_a_method_without_step_takes_the_step_away(self) -> None:
        """As does an attribute of that name; then the graph says what is missing."""

        class Heir(Base):
            async def end(self, ev: Asked) -> StopEvent:
                raise NotImplementedError

        class Other(Base):
            end = None  # type: ignore[assignment]

        for workflow in (Heir, Other):
            with pytest.raises(WorkflowValidationError, match="begin returns Asked, which no step"):
                names(workflow)

    async def test_a_mixin_brings_steps(self) -> None:
        """It need not be a workflow."""

        class Ending:
            @step
            async def end(self, ev: Asked) -> StopEvent:
                return StopEvent(result=f"mixed {ev.text}")

        class Mixed(Ending, Workflow):
            @step
            async def begin(self, ev: StartEvent) -> Asked:
                return Asked(text="in")

        assert await Mixed().run() == "mixed in"


class TestPostponedAnnotations:
    async def test_types_of_the_class_body_are_known(self) -> None:
        """In this file all annotations are text."""

        class Flow(Workflow):
            class Inner(Event):
                text: str

            @step
            async def begin(self, ev: StartEvent) -> Inner:
                return self.Inner(text="inner")

            @step
            async def end(self, ev: Inner) -> StopEvent:
                return StopEvent(result=ev.text)

        assert await Flow().run() == "inner"

    def test_values_around_the_class_are_not_kept(self) -> None:
        """They may be large, and no annotation names one."""

        class Large:
            pass

        def make() -> tuple[type[Workflow], weakref.ref[Large]]:
            large = Large()

            class Flow(Base):
                pass

            return Flow, weakref.ref(large)

        workflow, large = make()
        gc.collect()
        assert (large(), names(workflow)) == (None, ["begin", "end"])

    def test_a_type_may_come_after_the_class(self) -> None:
        """It is looked for when the graph is used first, and then must be there."""

        class Flow(Workflow):
            @step
            async def begin(self, ev: StartEvent) -> ComesLater:  # type: ignore[name-defined] # noqa: F821
                raise NotImplementedError

            @step
            async def end(self, ev: ComesLater) -> StopEvent:  # type: ignore[name-defined] # noqa: F821
                raise NotImplementedError

        with pytest.raises(WorkflowValidationError, match=r"begin cannot be resolved.*ComesLater"):
            Flow()
        globals()["ComesLater"] = type("ComesLater", (Event,), {})
        assert names(Flow) == ["begin", "end"]


class TestAdded:
    async def test_functions_outside_of_the_class_are_steps(self) -> None:
        """They have no `self`; a context they may have, and local types."""

        class Local(Event):
            text: str

        class Flow(Workflow):
            """Without steps of its own."""

        @step(workflow=Flow)
        async def begin(ev: StartEvent) -> Local:
            return Local(text="a")

        @step(workflow=Flow, num_workers=1)
        async def end(ctx: Context, ev: Local) -> StopEvent:
            return StopEvent(result=ev.text + ctx.run_id)

        assert names(Flow) == ["begin", "end"]
        assert await Flow().run(run_id="r") == "ar"
        assert (await begin(StartEvent())).text == "a"

    async def test_a_step_of_one_workflow_is_added_to_another(self) -> None:
        """`add_step` takes what `@step` marked."""

        class One(Workflow):
            pass

        class Other(Workflow):
            pass

        @step(workflow=One)
        async def only(ev: StartEvent) -> StopEvent:
            return StopEvent(result=ev.get("n"))

        Other.add_step(only)
        assert [await One().run(n=1), await Other().run(n=2)] == [1, 2]

    def test_a_subclass_has_them_too(self) -> None:
        """Also those that come after it was made, and it may replace one by a function."""

        class Flow(Base):
            pass

        class Heir(Flow):
            pass

        assert names(Heir) == ["begin", "end"]

        @step(workflow=Flow)
        async def watch(ev: Asked) -> None:
            """The base's."""

        assert names(Heir) == names(Flow) == ["begin", "end", "watch"]
        assert names(Base) == ["begin", "end"]

        @step(workflow=Heir)
        async def look(ev: Asked) -> None:
            """Only the heir's."""

        assert names(Heir) == ["begin", "end", "watch", "look"]
        assert names(Flow) == ["begin", "end", "watch"]

    def test_a_name_that_is_taken(self) -> None:
        """By a step of the class, of a base, by an added one, or by Fleet."""

        class Heir(Base):
            pass

        @step(workflow=Heir)
        async def more(ev: Asked) -> None: ...

        async def begin(ev: StartEvent) -> Asked:
            raise NotImplementedError

        async def run(ev: StartEvent) -> Asked:
            raise NotImplementedError

        with pytest.raises(WorkflowValidationError, match="A step begin is already part of this w"):
            step(workflow=Heir)(begin)
        with pytest.raises(WorkflowValidationError, match="A step more is already part of this wo"):
            Heir.add_step(more)
        with pytest.raises(WorkflowValidationError, match=r"step run would hide `Heir\.run`"):
            step(workflow=Heir)(run)

    def test_what_cannot_be_a_step_is_refused_when_it_is_added(self) -> None:
        """The function's own line is in the stack, not that of a later run."""
        with pytest.raises(WorkflowValidationError, match="step wrong does not say what it retu"):

            @step(workflow=Base)
            async def wrong(ev: Asked): ...  # type: ignore[no-untyped-def]

        assert names(Base) == ["begin", "end"]

    async def test_a_workflow_in_use_takes_no_more(self) -> None:
        """Its worker would not know the step. Validating it is no use."""

        class Flow(Base):
            pass

        class Parent(Workflow):
            pass

        class Child(Parent):
            @step
            async def only(self, ev: StartEvent) -> StopEvent:
                return StopEvent()

        Flow().validate()

        @step(workflow=Flow)
        async def watch(ev: Asked) -> None: ...

        await Flow().run()
        await Child().run()

        async def late(ev: Asked) -> None:
            raise NotImplementedError

        for workflow, in_use in [(Flow, "Flow"), (Parent, "Child")]:
            told = f"^{in_use} is in use in this process already, so step late comes too late; imp"
            with pytest.raises(WorkflowConfigurationError, match=told):
                step(workflow=workflow)(late)

    def test_a_workflow_that_is_served_takes_no_more(self) -> None:
        """A worker has the steps that it was made with."""

        class Flow(Base):
            pass

        serve(Flow)

        async def late(ev: Asked) -> None:
            raise NotImplementedError

        with pytest.raises(WorkflowConfigurationError, match="step late comes too late"):
            step(workflow=Flow)(late)

    def test_the_mark_is_of_the_function(self) -> None:
        """Something without a mark is no step, and says what to write."""

        async def plain(ev: Asked) -> None:
            raise NotImplementedError

        made: Any = plain
        told = r"plain is missing the `@step` decorator; write `@step\(workflow=Base\)` above it"
        with pytest.raises(WorkflowValidationError, match=told):
            Base.add_step(made)
