"""What readers of a run's stream see, if they come late, again, or while a step runs again."""

from tenacity import stop_after_attempt, wait_fixed

from fleet import Context, Event, StartEvent, StopEvent, Workflow, retry_policy, step


class Note(Event):
    text: str


class CountsAloud(Workflow):
    """Shows as many notes as it is asked for."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        for number in range(ev.get("notes")):
            ctx.write_event_to_stream(Note(text=str(number)))
        return StopEvent(result="counted")


class ShowsAgain(Workflow):
    """Shows two notes, fails, and shows them again."""

    @step(retry_policy=retry_policy(wait=wait_fixed(0.01), stop=stop_after_attempt(2)))
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        retry = ctx.retry_info().retry_number
        for number in range(2):
            ctx.write_event_to_stream(Note(text=f"{retry}.{number}"))
        if not retry:
            raise ConnectionError("the model is away")
        return StopEvent(result="shown")
