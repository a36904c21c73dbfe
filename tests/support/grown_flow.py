"""A workflow that has one more event, and so one more topic, in its later version."""

import os

from fleet import Event, StartEvent, StopEvent, Workflow, serve, step


class MiddleEvent(Event):
    pass


class FirstVersion(Workflow, workflow="grown"):
    @step
    async def answer(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=1)


class SecondVersion(Workflow, workflow="grown"):
    @step
    async def begin(self, ev: StartEvent) -> MiddleEvent:
        return MiddleEvent()

    @step
    async def answer(self, ev: MiddleEvent) -> StopEvent:
        return StopEvent(result=2)


app = serve(SecondVersion if os.environ.get("GROWN") else FirstVersion)
