"""The names of LlamaIndex Workflows: each works here or is refused, and the page says which."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from fleet import (
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowCancelledEvent,
    WorkflowConfigurationError,
    step,
)
from fleet.workflow.arguments import UnknownArgument

PAGE = Path(__file__).parents[3] / "docs" / "coming-from-llamaindex.md"


class Middle(Event):
    text: str


class End(StopEvent):
    text: str


class Flow(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> Middle | StopEvent:
        if ev.get("wait"):
            await asyncio.sleep(60)
        if ev.get("fail"):
            raise LookupError("a")
        return Middle(text=ev.get("text", ""))

    @step
    async def end(self, ev: Middle) -> StopEvent:
        return StopEvent(result=ev.text)


class Typed(Workflow):
    @step
    async def end(self, ev: StartEvent) -> End:
        return End(text="a")


class Loose(Workflow):
    """Nothing returns what its second step takes."""

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=1)

    @step
    async def never(self, ev: Middle) -> StopEvent:
        return StopEvent()


def arguments() -> dict[str, str]:
    """Return what the page says of each argument of the constructor."""
    section = PAGE.read_text().split("## The constructor of a workflow\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (same|differs|not here) \|", section, re.MULTILINE))


def test_what_the_page_says_of_arguments_is_so() -> None:
    """Those that are not here are refused, and None is none. All else: behaviour/test_guide.py."""
    flow: Any = Flow
    said = arguments()
    assert "not here" in said.values()
    for name in said:
        if said[name] == "not here":
            with pytest.raises(UnknownArgument, match=f"takes no argument '{name}': "):
                flow(**{name: object()})
        flow(**{name: None})


class TestWorkflow:
    def test_it_tells_its_types(self) -> None:
        """Of events, of what starts it and of what ends it."""
        made: Any = Flow()
        assert made.events == [StartEvent, Middle, StopEvent]
        assert (made.start_event_class, made.stop_event_class) == (StartEvent, StopEvent)
        typed: Any = Typed()
        assert typed.stop_event_class is End

    def test_what_it_has_not_is_refused(self) -> None:
        """With the way out, if there is one."""
        made: Any = Flow()
        with pytest.raises(AttributeError, match="'runtime': `serve` makes a worker"):
            _ = made.runtime
        with pytest.raises(AttributeError, match=r"Flow has no attribute 'colour'$"):
            _ = made.colour

    async def test_validation_can_be_disabled(self) -> None:
        """What only the graph check finds does not matter then."""
        assert await Loose(disable_validation=True).run() == 1

    def test_validate_checks_in_any_case(self) -> None:
        """It is asked for."""
        checked = type("Checked", (Loose,), {})
        made = checked(disable_validation=True)
        with pytest.raises(Exception, match="accepts Middle, which no step returns"):
            made.validate()

    async def test_time_and_checks_may_be_given_by_place(self) -> None:
        """In the order that they have there."""
        assert await Flow(10, True).run(text="a") == "a"

    async def test_verbose_prints_what_steps_do(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A line for each start and each end, on stdout."""
        flow = Flow(verbose=True)
        await flow.run(text="a", run_id="0123456789")
        with pytest.raises(LookupError):
            await flow.run(fail=True, run_id="9876543210")
        assert capsys.readouterr().out.splitlines() == [
            "[begin:01234567] started from StartEvent",
            "[begin:01234567] complete with Middle",
            "[end:01234567] started from Middle",
            "[end:01234567] complete with StopEvent",
            "[begin:98765432] started from StartEvent",
            "[begin:98765432] failed with LookupError",
        ]

    async def test_without_verbose_nothing_is_printed(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Steps print what they like, and Fleet nothing."""
        await Flow().run()
        assert capsys.readouterr().out == ""

    async def test_a_start_event_may_be_given_by_name(self) -> None:
        """None of both is none."""
        assert await Flow().run(start_event=StartEvent(text="a")) == "a"
        assert await Flow().run(ctx=None, start_event=None, text="b") == "b"

    async def test_a_context_of_another_run_is_refused(self) -> None:
        """A run has one of its own."""
        handler = Flow().run()
        with pytest.raises(WorkflowConfigurationError, match="each run has a context of its own"):
            Flow().run(ctx=handler.ctx)
        await handler


class TestHandler:
    async def test_a_run_with_a_result(self) -> None:
        """It is done, was not cancelled, and has its event."""
        handler = Flow().run(text="a")
        assert (handler.done(), handler.cancelled(), handler.get_stop_event()) == (
            False,
            False,
            None,
        )
        assert await handler.stop_event_result() == StopEvent(result="a")
        assert (handler.done(), handler.cancelled()) == (True, False)
        assert handler.get_stop_event() == StopEvent(result="a")

    async def test_a_result_of_ones_own(self) -> None:
        """It is the event itself."""
        handler = Typed().run()
        assert await handler.stop_event_result() == await handler == End(text="a")

    async def test_a_run_that_failed(self) -> None:
        """It has no event, and its error is raised."""
        handler = Flow().run(fail=True)
        with pytest.raises(LookupError):
            await handler.stop_event_result()
        assert (handler.done(), handler.cancelled(), handler.get_stop_event()) == (
            True,
            False,
            None,
        )

    async def test_a_run_that_is_cancelled(self) -> None:
        """Without waiting, as the name says there."""
        handler = Flow().run(wait=True)
        handler.cancel()
        with pytest.raises(WorkflowCancelledByUser):
            await handler
        assert (handler.done(), handler.cancelled()) == (True, True)
        assert handler.get_stop_event() == WorkflowCancelledEvent()

    async def test_a_cancel_waits_for_the_end(self) -> None:
        """So long and no longer."""
        handler = Flow().run(wait=True)
        await handler.cancel_run(timeout=10)
        assert handler.done()
        await handler.cancel_run(timeout=10)
