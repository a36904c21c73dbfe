"""A workflow whose steps sleep and are tried again."""

from tenacity import stop_after_attempt, wait_fixed

from fleet import Context, Event, StartEvent, StopEvent, Workflow, retry_policy, serve, step

#: Before the second attempt, and asleep, in seconds.
WAIT_SECONDS, SLEEP_SECONDS = 4.0, 4.0


class Slept(Event):
    number: int


class WaitingFlow(Workflow[int], workflow="waiting"):
    """Sleeps, fails once, ends."""

    @step
    async def rest(self, ctx: Context, ev: StartEvent) -> Slept:
        await ctx.sleep(SLEEP_SECONDS)
        return Slept(number=ev.get("number"))

    @step(retry_policy=retry_policy(wait=wait_fixed(WAIT_SECONDS), stop=stop_after_attempt(2)))
    async def work(self, ctx: Context, ev: Slept) -> StopEvent:
        if ctx.attempt == 1:
            raise ConnectionError("the service is away")
        return StopEvent(result=ev.number)


app = serve(WaitingFlow)
