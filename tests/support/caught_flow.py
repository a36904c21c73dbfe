"""A workflow whose step fails for some topics, and whose handler fails until a file is there."""

import os
from pathlib import Path

from fleet import Event, StartEvent, StepFailedEvent, StopEvent, Workflow, catch_error, serve, step


class Asked(StartEvent):
    topic: str


class Told(Event):
    text: str


class SourceDown(ConnectionError):
    """Raised for topics that begin with `down`."""


class CaughtFlow(Workflow, workflow="caught"):
    @step
    async def ask(self, ev: Asked) -> Told:
        if ev.topic.startswith("down"):
            raise SourceDown(ev.topic)
        return Told(text=ev.topic)

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> Told:
        assert isinstance(ev.exception, SourceDown)
        if ev.input_event.topic == "down twice" and not Path(os.environ["CAUGHT_FIX"]).exists():
            raise LookupError("no other source")
        return Told(text=f"{ev.input_event.topic} after {ev.attempts}")

    @step
    async def tell(self, ev: Told) -> StopEvent:
        return StopEvent(result=ev.text)


app = serve(CaughtFlow)
