"""A script with a workflow on a Faust app of its own: worker and caller in one process."""

import asyncio
import json
import sys

import faust

from fleet import Event, Workflow, step


class StartEvent(Event):
    topic: str


class JokeEvent(Event):
    joke: str


class CritiqueEvent(Event):
    result: str


class JokeFlow(Workflow):
    result_event_type = CritiqueEvent

    @step
    async def tell(self, ev: StartEvent) -> JokeEvent:
        return JokeEvent(joke=f"a joke about {ev.topic}")

    @step
    async def judge(self, ev: JokeEvent) -> CritiqueEvent:
        if "bad" in ev.joke:
            raise LookupError("nothing to laugh at")
        return CritiqueEvent(result=f"good: {ev.joke}")


async def main(app: faust.App) -> None:
    flow = JokeFlow(app=app, timeout=60)
    result = await flow.run(StartEvent(topic="pirates"))
    many = await asyncio.gather(*(flow.run(topic=str(number)) for number in range(50)))
    try:
        await flow.run(topic="bad taste")
    except LookupError as error:
        failure = [str(error), *error.__notes__[:1]]
    shown = {"result": result.result, "many": [each.result for each in many], "failure": failure}
    sys.stdout.write(json.dumps(shown) + "\n")


if __name__ == "__main__":
    broker, name, folder = sys.argv[1:]
    asyncio.run(main(faust.App(name, broker=broker, datadir=folder)))
