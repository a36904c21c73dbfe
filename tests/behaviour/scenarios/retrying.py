"""Steps that are tried again."""

from tenacity import (
    retry_if_exception_message,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_chain,
    wait_exponential,
    wait_fixed,
    wait_random,
)

from fleet import (
    Context,
    Event,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    catch_error,
    retry_policy,
    step,
)

#: How often each key has been tried.
tried: dict[str, int] = {}


def again(key: str) -> int:
    """Count one more try of *key*; return how many there were."""
    tried[key] = tried.get(key, 0) + 1
    return tried[key]


class Note(Event):
    text: str


class Busy(Exception):
    """Another try may succeed."""


class Wrong(ValueError):
    """No other try succeeds."""


class Job(Event):
    key: str
    number: int = 0
    failures: int = 0


class Made(Event):
    number: int
    tries: int


class SucceedsLater(Workflow):
    """Fails as often as its start says."""

    @step(retry_policy=retry_policy(wait=wait_fixed(0.01), stop=stop_after_attempt(4)))
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        tries = again(ev.key)
        ctx.write_event_to_stream(Note(text=f"try {tries}"))
        if tries <= ev.failures:
            raise Busy(f"try {tries}")
        return StopEvent(result=tries)


class OnlySome(Workflow):
    """Tries again what is busy, and what says so."""

    @step(
        retry_policy=retry_policy(
            retry=retry_if_exception_type(Busy) | retry_if_exception_message(match="later"),
            wait=wait_chain(wait_fixed(0.01), wait_exponential(multiplier=0.01, max=0.02)),
            stop=stop_after_attempt(3) | stop_after_delay(20),
        )
    )
    async def work(self, ev: StartEvent) -> StopEvent:
        tries = again(ev.key)
        if tries > ev.failures:
            return StopEvent(result=tries)
        raise {"busy": Busy, "wrong": Wrong, "later": Wrong}[ev.kind](ev.kind)


class AllButSome(Workflow):
    """Does not try again what is wrong."""

    @step(
        retry_policy=retry_policy(
            retry=retry_if_not_exception_type(Wrong), wait=wait_random(0, 0.01)
        )
    )
    async def work(self, ev: StartEvent) -> StopEvent:
        tries = again(ev.key)
        if tries == 1:
            raise {"busy": Busy, "wrong": Wrong}[ev.kind](ev.kind)
        return StopEvent(result=tries)


class NoPolicy(Workflow):
    """Its first failure is the last."""

    @step
    async def work(self, ev: StartEvent) -> StopEvent:
        raise Busy(f"try {again(ev.key)}")


class TellsItsTries(Workflow):
    """Each attempt shows what it knows of those before."""

    @step(retry_policy=retry_policy(wait=wait_fixed(0.01), stop=stop_after_attempt(3)))
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        info = ctx.retry_info()
        if info.retry_number < 2:
            raise Busy(f"retry {info.retry_number}")
        error = info.last_exception
        told = [info.retry_number, type(error).__name__, str(error)]
        zone = info.last_failed_at.tzname() if info.last_failed_at else None
        return StopEvent(result=[*told, info.elapsed_seconds >= 0.02, zone])


class FirstTells(Workflow):
    """The first attempt knows of none."""

    @step(retry_policy=retry_policy())
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        info = ctx.retry_info()
        told = [info.retry_number, info.elapsed_seconds, info.last_exception, info.last_failed_at]
        return StopEvent(result=told)


class OneOfMany(Workflow):
    """Of a fan-out, only what fails is tried again, and the join has all of it."""

    @step
    async def begin(self, ev: StartEvent) -> list[Job]:
        return [Job(key=f"{ev.key} {n}", number=n, failures=n % 3) for n in range(6)]

    @step(
        num_workers=6,
        retry_policy=retry_policy(wait=wait_fixed(0.01), stop=stop_after_attempt(3)),
    )
    async def work(self, ev: Job) -> Made:
        tries = again(ev.key)
        if tries <= ev.failures:
            raise Busy(ev.key)
        return Made(number=ev.number, tries=tries)

    @step
    async def join(self, made: list[Made]) -> StopEvent:
        return StopEvent(result=sorted([one.number, one.tries] for one in made))


class JoinFails(Workflow):
    """A join is tried again with what it had."""

    @step
    async def begin(self, ev: StartEvent) -> list[Job]:
        return [Job(key=ev.key, number=n) for n in range(3)]

    @step
    async def work(self, ev: Job) -> Made:
        return Made(number=ev.number, tries=1)

    @step(retry_policy=retry_policy(wait=wait_fixed(0.01), stop=stop_after_attempt(3)))
    async def join(self, ctx: Context, made: list[Made]) -> StopEvent:
        if ctx.retry_info().retry_number < 2:
            raise Busy("join")
        return StopEvent(result=sorted(one.number for one in made))


class CaughtAtLast(Workflow):
    """A handler gets the failure when no try is left."""

    @step(retry_policy=retry_policy(wait=wait_fixed(0.01), stop=stop_after_attempt(3)))
    async def work(self, ev: StartEvent) -> StopEvent:
        raise Busy(f"try {again(ev.key)}")

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent(result=[ev.step_name, ev.attempts, str(ev.exception)])


class OwnPolicy(Workflow):
    """Its policy is an object of its own."""

    class _Twice:
        def next(
            self, elapsed_time: float, attempts: int, error: Exception, *, seed: int | None = None
        ) -> float | None:
            return 0.0 if attempts < 3 and isinstance(error, Busy) else None

    @step(retry_policy=_Twice())
    async def work(self, ev: StartEvent) -> StopEvent:
        tries = again(ev.key)
        if tries < 3:
            raise Busy("again")
        return StopEvent(result=tries)
