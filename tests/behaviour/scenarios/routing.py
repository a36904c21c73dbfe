"""Which step an event reaches."""

from typing import Generic, Optional, TypeVar, Union

from fleet import Context, Event, StartEvent, StopEvent, Workflow, WorkflowRuntimeError, step

T = TypeVar("T")


class Note(Event):
    """What a step says that it did."""

    text: str


class A(Event):
    n: int = 0


class B(Event):
    n: int = 0


class Seen(Event):
    by: str


class Animal(Event):
    name: str = "Rex"


class Dog(Animal):
    pass


class Puppy(Dog):
    pass


class Stray(Event):
    """No step takes it."""

    n: int = 0


class Kitten(A):
    """A kind of A that no step takes."""


class Box(Event, Generic[T]):
    item: T


class TakesEither(Workflow):
    """One step takes two types."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | B:
        ctx.send_event(A(n=1))
        return B(n=2)

    @step
    async def take(self, ctx: Context, ev: A | B) -> Seen:
        return Seen(by=f"{type(ev).__name__}{ev.n}")

    @step
    async def gather(self, ctx: Context, ev: Seen) -> StopEvent | None:
        seen = ctx.collect_events(ev, [Seen] * 2)
        return StopEvent(result=sorted(each.by for each in seen)) if seen else None


class TypingUnions(Workflow):
    """Unions and optional events as the typing module writes them."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Union[A, B]:  # noqa: UP007
        return B(n=5) if ev.get("which") == "B" else A(n=4)

    @step
    async def take(self, ev: Union[A, B]) -> Optional[StopEvent]:  # noqa: UP007, UP045
        return StopEvent(result=ev.n)


class ExactType(Workflow):
    """A step takes a base class, another one a subclass of it."""

    @step
    async def begin(self, ev: StartEvent) -> Animal | Dog:
        return Dog()

    @step
    async def on_animal(self, ev: Animal) -> StopEvent:
        return StopEvent(result="animal")

    @step
    async def on_dog(self, ev: Dog) -> StopEvent:
        return StopEvent(result="dog")


class SubclassesToo(Workflow):
    """A step asks for subclasses; another takes the exact type."""

    @step
    async def begin(self, ev: StartEvent) -> Dog:
        return Dog()

    @step(accept_event_subclasses=True)
    async def on_animal(self, ev: Animal) -> Seen:
        return Seen(by=f"animal {type(ev).__name__}")

    @step
    async def on_dog(self, ev: Dog) -> Seen:
        return Seen(by=f"dog {type(ev).__name__}")

    @step
    async def gather(self, ctx: Context, ev: Seen) -> StopEvent | None:
        seen = ctx.collect_events(ev, [Seen] * 2)
        return StopEvent(result=sorted(each.by for each in seen)) if seen else None


class SubclassesDeep(Workflow):
    """The only step that takes the event asks for subclasses of a distant base."""

    @step
    async def begin(self, ev: StartEvent) -> Puppy:
        return Puppy(name="Bello")

    @step(accept_event_subclasses=True)
    async def on_animal(self, ev: Animal) -> StopEvent:
        return StopEvent(result=[type(ev).__name__, ev.name])


class UnnamedSubclass(Workflow):
    """A step returns a subclass that no annotation names; another asks for subclasses."""

    @step
    async def begin(self, ev: StartEvent) -> Animal:
        return Puppy(name="Bello")

    @step(accept_event_subclasses=True)
    async def on_animal(self, ev: Animal) -> StopEvent:
        return StopEvent(result=[type(ev).__name__, ev.name])


class Broadcast(Workflow):
    """Three steps take the same event."""

    @step
    async def begin(self, ev: StartEvent) -> A:
        return A(n=1)

    @step
    async def first(self, ev: A) -> Seen:
        return Seen(by="first")

    @step
    async def second(self, ev: A) -> Seen:
        return Seen(by="second")

    @step
    async def third(self, ev: A) -> Seen:
        return Seen(by="third")

    @step
    async def gather(self, ctx: Context, ev: Seen) -> StopEvent | None:
        seen = ctx.collect_events(ev, [Seen] * 3)
        return StopEvent(result=sorted(each.by for each in seen)) if seen else None


class NoneEndsABranch(Workflow):
    """Two of three branches end with None."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        for n in range(3):
            ctx.send_event(A(n=n))
        return None

    @step(num_workers=1)
    async def take(self, ctx: Context, ev: A) -> StopEvent | None:
        ctx.write_event_to_stream(Note(text=f"A{ev.n}"))
        return StopEvent(result=ev.n) if ev.n == 2 else None


class Loop(Workflow):
    """A step returns the type that it takes."""

    @step
    async def begin(self, ev: StartEvent) -> A:
        return A(n=0)

    @step
    async def again(self, ctx: Context, ev: A) -> A | StopEvent:
        ctx.write_event_to_stream(Note(text=f"round {ev.n}"))
        return A(n=ev.n + 1) if ev.n < 3 else StopEvent(result=ev.n)


class BackToTheStart(Workflow):
    """A step returns a start event."""

    @step
    async def begin(self, ev: StartEvent) -> A:
        return A(n=ev.get("n", 0) + 1)

    @step
    async def again(self, ev: A) -> StartEvent | StopEvent:
        return StartEvent(n=ev.n) if ev.n < 3 else StopEvent(result=ev.n)


class InOrderSent(Workflow):
    """Events of one type, to a step that takes one at a time."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        for n in range(8):
            ctx.send_event(A(n=n))
        return None

    @step(num_workers=1)
    async def take(self, ctx: Context, ev: A) -> StopEvent | None:
        ctx.write_event_to_stream(Note(text=str(ev.n)))
        return StopEvent(result="done") if ev.n == 7 else None


class Base(Workflow):
    """A workflow to inherit from."""

    @step
    async def begin(self, ev: StartEvent) -> A:
        return A(n=self.number())

    @step
    async def end(self, ev: A) -> StopEvent:
        return StopEvent(result=f"base {ev.n}")

    def number(self) -> int:
        return 1


class Heir(Base):
    """Inherits all its steps, and overrides what one of them calls."""

    def number(self) -> int:
        return 2


class Overriding(Base):
    """Overrides a step, and calls the one that it overrides."""

    @step
    async def end(self, ev: A) -> StopEvent:
        inherited = await super().end(ev)
        return StopEvent(result=f"overriding {inherited.result}")


class Rewired(Base):
    """Overrides a step with other types, and adds one."""

    @step
    async def begin(self, ev: StartEvent) -> B:  # type: ignore[override]
        return B(n=7)

    @step
    async def between(self, ev: B) -> A:
        return A(n=ev.n + 1)


class _Mixin:
    @step
    async def end(self, ev: A) -> StopEvent:
        return StopEvent(result=f"mixed in {ev.n}")


class MixedIn(_Mixin, Workflow):
    """Has a step of a class that is no workflow."""

    @step
    async def begin(self, ev: StartEvent) -> A:
        return A(n=3)


class OwnInit(Workflow):
    """Takes arguments of its own."""

    def __init__(self, *, greeting: str = "hello", **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.greeting = greeting

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=self.greeting)


class GenericEvents(Workflow):
    """Two events of one generic class."""

    @step
    async def begin(self, ev: StartEvent) -> Box[int] | Box[str]:
        return Box[str](item="7") if ev.get("text") else Box[int](item=7)

    @step
    async def on_number(self, ev: Box[int]) -> StopEvent:
        return StopEvent(result=["number", ev.item])

    @step
    async def on_text(self, ev: Box[str]) -> StopEvent:
        return StopEvent(result=["text", ev.item])


class Free(Workflow):
    """Has free functions for steps."""


@step(workflow=Free)
async def free_begin(ev: StartEvent) -> A:
    return A(n=1)


@step(workflow=Free)
async def free_end(ctx: Context, ev: A) -> StopEvent:
    ctx.write_event_to_stream(Note(text="free"))
    return StopEvent(result=ev.n)


class PartlyFree(Workflow):
    """Has methods, and a free function that another workflow has, too."""

    @step
    async def begin(self, ev: StartEvent) -> A:
        return A(n=2)


PartlyFree.add_step(free_end)


class Targeted(Workflow):
    """Sends to one of the steps that take the type."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        ctx.send_event(A(), step="second")
        return None

    @step
    async def first(self, ev: A) -> StopEvent:
        return StopEvent(result="first")

    @step
    async def second(self, ev: A) -> StopEvent:
        return StopEvent(result="second")


class WrongTargets(Workflow):
    """Sends to a step that is not there, and to one that takes another type."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A:
        said = []
        for target in ("nowhere", "end"):
            try:
                ctx.send_event(B(), step=target)
            except WorkflowRuntimeError as refused:
                said.append(str(refused))
        ctx.write_event_to_stream(Note(text="still here"))
        return A(n=len(said)) if ev.get("go_on") else self.refused(said)

    def refused(self, said: list[str]) -> A:
        raise LookupError("; ".join(said))

    @step
    async def end(self, ev: A) -> StopEvent:
        return StopEvent(result=ev.n)


class SendsAStray(Workflow):
    """Sends an event that no step takes, and goes on."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A:
        ctx.send_event(Stray(n=3))
        return A()

    @step
    async def end(self, ev: A) -> StopEvent:
        return StopEvent(result="ended")


class ReturnsAStray(Workflow):
    """A branch returns a subclass that no step takes; another branch ends the run."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | B:
        ctx.send_event(A())
        return Kitten()

    @step
    async def on_a(self, ev: A) -> B:
        return B()

    @step
    async def end(self, ev: B) -> StopEvent:
        return StopEvent(result="ended")


class Listens(Workflow):
    """Ends when its caller says so."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | None:
        ctx.write_event_to_stream(Note(text="listening"))
        return None

    @step
    async def end(self, ev: A) -> StopEvent:
        return StopEvent(result=ev.n)

    @step
    async def never(self, ev: A) -> None:
        return None


class ReturnsText(Workflow):
    """Returns what is no event."""

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        return "text"  # type: ignore[return-value]


class ReadsItsStart(Workflow):
    """Reads free fields of a start event as a dict has them."""

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        read = [ev.topic, ev["topic"], ev.get("topic"), ev.get("none", 7)]
        return StopEvent(result=[*read, "topic" in ev, "none" in ev, sorted(ev)])
