"""Types that users put into events, what becomes of a value of each, and a workflow to try it."""

import dataclasses
import ipaddress
import math
import re
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar, Union
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    Json,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    SecretBytes,
    SecretStr,
    computed_field,
    create_model,
    model_validator,
)
from typing_extensions import TypedDict

from fleet import ClearText, Context, Event, StartEvent, StopEvent, Workflow, serve, step

T = TypeVar("T")
BERLIN = ZoneInfo("Europe/Berlin")


class Tone(Enum):
    DRY = "dry"
    LOUD = 2
    NONE = None
    PAIR = (1, 2)


class Pairs(Enum):
    ONE = (1, 2)
    TWO = (3, 4)


class Word(StrEnum):
    A = "a"


class Level(IntEnum):
    LOW = 1


class Rights(Flag):
    READ = 1
    WRITE = 2


class Animal(BaseModel):
    name: str = "Rex"


class Dog(Animal):
    breed: str = "terrier"


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Fish(BaseModel):
    kind: Literal["fish"] = "fish"
    fins: int = 2


class Node(BaseModel):
    children: list["Node"] = []


class Box(BaseModel, Generic[T]):
    content: T


class Score(BaseModel):
    number: float = 0.0


class ScoreAsText(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="strings")
    number: float = 0.0


class Blob(BaseModel):
    data: bytes = b""


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class WithPrivate(BaseModel):
    text: str = ""
    _seen: int = PrivateAttr(default=0)

    def seen(self) -> "WithPrivate":
        """Return it with something in its private attribute."""
        self._seen = 1
        return self


class WithExcluded(BaseModel):
    text: str = ""
    cache: str = Field("", exclude=True)


class WithComputed(BaseModel):
    width: int = 2

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        """The square."""
        return self.width**2


class Incremented(BaseModel):
    number: int = 0

    @model_validator(mode="after")
    def _count(self) -> "Incremented":
        self.number += 1
        return self


class Ids(RootModel[list[int]]):
    pass


@dataclass
class Point:
    x: int
    tags: list[str] = field(default_factory=list)


@dataclass
class Point3(Point):
    z: int = 0


@dataclass
class Derived:
    x: int
    twice: int = 0

    def __post_init__(self) -> None:
        self.twice = 2 * self.x


class Pair(NamedTuple):
    left: int
    right: str


class Message(TypedDict):
    role: str
    content: str


class Turn(TypedDict):
    content: str | Iterable[Message]


class Plain:
    """Nothing that pydantic knows."""


class Moment(datetime):
    """A datetime of a library's own."""


class Text(str):
    """A text of a type of its own."""

    __slots__ = ()


def nested(depth: int) -> Any:
    """Return a list in a list in a list."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def chain(depth: int) -> Node:
    """Return a node with a child with a child."""
    node = Node()
    for _ in range(depth):
        node = Node.model_construct(children=[node])
    return node


def cents(price: float) -> float:
    """Return what a validator makes of a price, each time again."""
    return price * 100


UNCHECKED = Animal.model_construct(name=5)  # type: ignore[arg-type]


class Anything(Event):
    """Its fields may be of types that pydantic does not know."""

    model_config = ConfigDict(arbitrary_types_allowed=True)


class Case(NamedTuple):
    """One value in a field of one type."""

    declared: Any
    value: Any
    #: A pattern of the sender's error; empty: the value comes back.
    refused: str = ""


NAIVE = datetime(2026, 1, 2, 3, 4, 5, 678901)  # noqa: DTZ001 - as users have them
A_OR_A = re.compile("a+", re.IGNORECASE)
LOST_ZONE = datetime(1900, 1, 1, tzinfo=ZoneInfo("Europe/Amsterdam"))

CASES: dict[str, Case] = {
    # numbers
    "int": Case(int, 5),
    "big_int": Case(int, 2**70),
    "many_digits": Case(int, 10**4000),
    "too_many_digits": Case(int, 10**5000, "could not be read again"),
    "too_many_digits_in_any": Case(Any, 10**5000, "could not be read again"),
    "float": Case(float, -0.0),
    "nan": Case(float, math.nan),
    "infinity": Case(float | None, -math.inf),
    "nan_in_a_list": Case(list[float], [1.5, math.nan]),
    "nan_in_any": Case(Any, math.nan, "value: a float would come back as a str"),
    "nan_in_a_dict": Case(dict[str, Any], {"a": [math.inf]}, r"value\.a\.0: a float would come"),
    "nan_in_a_typed_dict": Case(dict[str, float], {"a": math.nan}),
    "nan_or_text": Case(float | str, math.nan, "value: a float would come back as a str"),
    "nan_in_a_model": Case(Score, Score(number=math.nan), "could not be read again: value.number"),
    "nan_in_a_model_that_says_how": Case(ScoreAsText, ScoreAsText(number=math.nan)),
    "complex": Case(complex, 1 + 2j),
    "decimal": Case(Decimal, Decimal("1.50")),
    "large_decimal": Case(Decimal, Decimal("1E+400")),
    "bool": Case(bool, True),
    "bool_or_int": Case(bool | int, 1),
    "int_or_float": Case(int | float, 1.0),
    # text and bytes
    "text": Case(str, "ü\0\x1b"),
    "half_a_character": Case(str, "\ud83d", "value: .*surrogates"),
    "text_of_a_kind": Case(str, Word.A.value),
    "text_of_a_kind_unchecked": Case(str, Text("a"), "value: a Text would come back as a str"),
    "int_of_a_kind_unchecked": Case(int, Level.LOW, "value: a Level would come back as an int"),
    "float_that_is_an_int": Case(float, 1, "value: an int would come back as a float"),
    "date_that_is_a_datetime": Case(date, NAIVE, "value: a datetime would come back|read again"),
    "text_of_a_kind_in_any": Case(Any, Text("a"), "value: a Text would come back as a str"),
    "bytes": Case(bytes, b"\xff\0"),
    "bytes_in_any": Case(Any, b"a", "value: a bytes would come back as a str"),
    "bytes_in_a_model": Case(Blob, Blob(data=b"text")),
    "bytes_in_a_model_that_are_no_text": Case(Blob, Blob(data=b"\xff"), "value: .*utf-8"),
    "json": Case(Json[list[int]], [1, 2]),
    # times
    "datetime": Case(datetime, NAIVE),
    "datetime_utc": Case(datetime, datetime(2026, 1, 2, tzinfo=UTC)),
    "datetime_offset": Case(datetime, datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-5)))),
    "datetime_zone": Case(datetime, datetime(2026, 7, 2, tzinfo=BERLIN)),
    "datetime_zone_twice": Case(datetime, datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)),
    "datetime_seconds_off": Case(datetime, LOST_ZONE, "value: the value would come back changed"),
    "datetime_in_any": Case(Any, NAIVE, "value: a datetime would come back as a str"),
    "datetime_of_a_kind": Case(
        datetime, Moment(2026, 1, 2, tzinfo=UTC), "value: a Moment would come back as a datetime"
    ),
    "aware": Case(AwareDatetime, datetime(2026, 1, 2, tzinfo=UTC)),
    "date": Case(date, date(1, 1, 1)),
    "date_or_text": Case(date | str, "2026-01-02", "value: a str would come back as a date"),
    "time": Case(time, time(1, 2, 3, 4)),
    "time_utc": Case(time, time(1, tzinfo=UTC)),
    "time_zone": Case(time, time(1, tzinfo=BERLIN), "value: the value would come back changed"),
    "timedelta": Case(timedelta, timedelta(days=-3, microseconds=1)),
    # names and places
    "uuid": Case(UUID, UUID(int=5)),
    "path": Case(Path, Path("a/b")),
    "url": Case(HttpUrl, HttpUrl("https://example.org/a?b=c")),
    "address": Case(ipaddress.IPv4Address, ipaddress.IPv4Address("127.0.0.1")),
    "pattern": Case(re.Pattern[str], re.compile("a+")),
    "pattern_with_flags": Case(re.Pattern[str], A_OR_A, "value: the value would come back changed"),
    # enums
    "enum": Case(Tone, Tone.DRY),
    "enum_of_int": Case(Tone, Tone.LOUD),
    "enum_of_none": Case(Tone, Tone.NONE),
    "enum_of_tuple": Case(Tone, Tone.PAIR, "could not be read again: value"),
    "str_enum": Case(Word, Word.A),
    "int_enum": Case(Level, Level.LOW),
    "flag": Case(Rights, Rights.READ | Rights.WRITE),
    "enum_in_any": Case(Any, Word.A, "value: a Word would come back as a str"),
    "literal": Case(Literal["a", 1], 1),
    # collections
    "list": Case(list[int], [1, 2]),
    "list_changed": Case(list[int], [1, "two"], "could not be read again: value.1"),
    "set": Case(set[str], {"a"}),
    "set_in_any": Case(Any, {"a"}, "value: a set would come back as a list"),
    "frozenset": Case(frozenset[int], frozenset({1})),
    "tuple": Case(tuple[int, str], (1, "a")),
    "tuple_in_any": Case(Any, (1,), "value: a tuple would come back as a list"),
    "sequence": Case(Sequence[int], [1]),
    "sequence_tuple": Case(Sequence[int], (1,), "value: a tuple would come back as a list"),
    "iterable_in_a_union": Case(
        list[Turn],
        [{"content": [{"role": "user", "content": "x"}]}],
        r"value\.0\.content: an Iterable is read only once; declare a list instead",
    ),
    "counter": Case(Counter[str], Counter("aab")),
    "default_dict": Case(defaultdict[str, int], defaultdict(int, a=1)),
    "ordered_dict_in_any": Case(Any, OrderedDict(a=1), "value: an OrderedDict would come back as"),
    "list_that_is_a_tuple": Case(list[int], (1,), "value: a tuple would come back as a list"),
    "path_or_text": Case(Path | str, "x", "value: a str would come back as a PosixPath"),
    "text_or_bytes": Case(str | bytes, b"x", "value: a bytes would come back as a str"),
    "deque": Case(deque[int], deque([1, 2])),
    "named_tuple": Case(Pair, Pair(1, "a")),
    "typed_dict": Case(Message, {"role": "user", "content": "x"}),
    "dict": Case(dict[str, list[int]], {"a": [1]}),
    "int_keys": Case(dict[int, str], {1: "a"}),
    "date_keys": Case(dict[date, str], {date(2026, 1, 2): "a"}),
    "enum_keys": Case(dict[Word, int], {Word.A: 1}),
    "int_keys_in_any": Case(Any, {1: 2}, "value: a key of type int would come back as another"),
    "none_keys": Case(dict[str | None, int], {None: 1}, "value: a key of type NoneType would come"),
    "none_key_in_any": Case(dict, {None: 1}, "value: a key of type NoneType would come back"),
    "tuple_key_in_any": Case(Any, {(1, 2): 1}, "value: a key of type tuple would come back"),
    "deep": Case(Any, nested(150)),
    "too_deep": Case(Any, nested(300), "(value: .*depth|read again)"),
    # models
    "model": Case(Animal, Animal(name="Tom")),
    "subclass": Case(Animal, Dog(), "value: a Dog would come back as an Animal; declare the field"),
    "subclass_in_a_list": Case(list[Animal], [Animal(), Dog()], r"value\.1: a Dog would come back"),
    "union_of_both": Case(Animal | Dog, Dog()),
    "model_in_any": Case(
        Any, Animal(), "value: an Animal would come back as a dict; use a dict, or"
    ),
    "discriminated": Case(Annotated[Cat | Fish, Field(discriminator="kind")], Fish(fins=3)),
    "generic": Case(Box[int], Box[int](content=1)),
    "generic_of_any": Case(Box[Any], Box[Any](content={1}), r"value\.content: a set would come"),
    "self_reference": Case(Node, Node(children=[Node()])),
    "self_reference_too_deep": Case(Node, chain(300), "could not be read again|value: "),
    "root_model": Case(Ids, Ids([1])),
    "open_model": Case(Open, Open.model_validate({"a": 1})),
    "open_model_with_a_set": Case(Open, Open.model_validate({"a": {1}}), r"value\.a: a set would"),
    "private": Case(WithPrivate, WithPrivate(text="a")),
    "private_that_is_set": Case(WithPrivate, WithPrivate().seen(), r"value\._seen: private attr"),
    "excluded": Case(WithExcluded, WithExcluded(text="a")),
    "excluded_that_is_set": Case(WithExcluded, WithExcluded(cache="a"), r"value\.cache: the field"),
    "computed": Case(WithComputed, WithComputed(width=3)),
    "constructed_wrongly": Case(Animal, UNCHECKED, "again: value.name"),
    "dataclass": Case(Point, Point(1, ["a"])),
    "dataclass_subclass": Case(Point, Point3(1, z=2), "value: a Point3 would come back as a Point"),
    "dataclass_derived": Case(Derived, Derived(2)),
    "dataclass_in_any": Case(Any, Point(1), "value: a Point would come back as a dict"),
    "nothing": Case(Any, object(), "value: Unable to serialize unknown type"),
    "a_function": Case(Any, print, "value: Unable to serialize unknown type"),
    "none": Case(int | None, None),
    # validators and serializers
    "validator": Case(Annotated[str, AfterValidator(str.strip)], "a"),
    "validator_each_time": Case(
        Annotated[float, AfterValidator(cents)], 5.0, "value: the value would come back changed"
    ),
    "model_validator_each_time": Case(
        Incremented, Incremented(), r"value\.number: the value would come back changed"
    ),
    "before_validator": Case(
        Annotated[list[str], BeforeValidator(lambda v: v.split() if isinstance(v, str) else v)],
        ["a", "b"],
    ),
    "serializer_that_loses": Case(
        Annotated[float, PlainSerializer(round)], 1.4, "value: the value would come back changed"
    ),
    "limits": Case(Annotated[int, Field(gt=0)], 1),
    # secrets
    "clear_text": Case(Annotated[SecretStr, ClearText], SecretStr("key")),
    "clear_text_bytes": Case(Annotated[SecretBytes, ClearText], SecretBytes(b"\xff")),
    "clear_text_or_none": Case(Annotated[SecretStr | None, ClearText], SecretStr("key")),
    "secret_in_any": Case(Any, SecretStr("key"), "value: a SecretStr is masked when it is written"),
}

#: Types of which no value ever comes back: by case, with the author's error.
NEVER: dict[str, tuple[Any, str]] = {
    "secret": (SecretStr, "value is a SecretStr, and topics are clear text; send where the secret"),
    "secret_or_none": (SecretStr | None, "value is a SecretStr, and topics are clear text"),
    "secrets": (list[SecretBytes], "value is a SecretBytes, and topics are clear text"),
    "secret_in_a_model": (
        create_model("Account", key=(SecretStr, ...)),
        r"value\.key is a SecretStr, and topics are clear text",
    ),
    "function": (Callable[[], int], "value is a function, which JSON does not have"),
    "class": (type, "value is a type, which cannot be read from JSON"),
    "class_of": (type[Animal], "value is a class, which JSON does not have"),
    "iterable": (Iterable[int], "value is an Iterable, read only once, which JSON does not have"),
    "tuple_keys": (dict[tuple[int, int], str], "value has a tuple as a key"),
    "frozenset_keys": (dict[frozenset[int], str], "value has a frozenset as a key"),
    "none_key": (dict[None, str], "value has None as a key"),
    "enum_of_tuples": (Pairs, "value is a Pairs, of which no member comes back"),
    "unknown": (Plain, "value is a Plain, which cannot be read from JSON; use a pydantic model"),
    "unknown_in_a_list": (list[Plain | None], "value is a Plain, which cannot be read from JSON"),
    "excluded_and_required": (
        Annotated[int, Field(exclude=True)],
        "value is required and never written",
    ),
}


def sent(name: str, base: type[Event], declared: Any) -> type[Any]:
    """Return an event type with a `value` of a declared type."""
    return create_model(
        f"{base.__name__}_{name}", __base__=base, __module__=__name__, value=(declared, ...)
    )


def shown(value: Any) -> str:  # noqa: PLR0911 - a table
    """Return a value and its types as text, the same in every process."""
    kind = type(value).__qualname__
    if isinstance(value, BaseModel):
        inside: Any = {
            **value.__dict__,
            **(value.model_extra or {}),
            **(value.__pydantic_private__ or {}),
        }
        return f"{kind}({shown(inside)})"
    if dataclasses.is_dataclass(value):
        return f"{kind}({shown(vars(value))})"
    if isinstance(value, dict):
        return f"{kind}({', '.join(f'{shown(k)}: {shown(v)}' for k, v in value.items())})"
    if isinstance(value, set | frozenset):
        return f"{kind}({sorted(map(shown, value))})"
    if isinstance(value, list | tuple | deque):
        return f"{kind}({', '.join(map(shown, value))})"
    if isinstance(value, datetime | time):
        return f"{kind}({value.isoformat()})"
    if isinstance(value, SecretStr | SecretBytes):
        return f"{kind}({value.get_secret_value()!r})"
    if isinstance(value, int) and not isinstance(value, bool | Enum):
        return f"{kind}({value:x})"
    return f"{kind}({value!r})"


EVENTS = {name: sent(name, Event, case.declared) for name, case in CASES.items()}
ENDS = {name: sent(name, StopEvent, case.declared) for name, case in CASES.items()}


def made(types: dict[str, type[Any]], name: str) -> Any:
    """Return the event of a case, as a step holds it that did whatever Python lets it do."""
    return types[name].model_construct(value=CASES[name].value)


async def _begin(self: Any, ctx: Context, ev: StartEvent) -> Any:
    case, way = ev.get("case"), ev.get("way")
    if way == "event":
        return made(EVENTS, case)
    if way == "stream":
        await ctx.write_event_to_stream(made(EVENTS, case))
        return StopEvent()
    return made(ENDS, case)


async def _receive(self: Any, ev: Event) -> StopEvent:
    return StopEvent(result=shown(ev.get("value")))


_begin.__annotations__["return"] = Union[(*EVENTS.values(), *ENDS.values(), StopEvent)]
_receive.__annotations__["ev"] = Union[tuple(EVENTS.values())]  # noqa: UP007

ValueFlow: type[Workflow] = type(
    "ValueFlow",
    (Workflow,),
    {"__module__": __name__, "begin": step(_begin), "receive": step(_receive)},
)
WAYS = ("event", "stream", "result")


async def outcome(flow: Any, case: str, way: str) -> str:
    """Run one case one way; return how its value came back, or what its sender was told."""
    handler = flow.run(case=case, way=way)
    try:
        result = await handler
    except Exception as failure:  # noqa: BLE001 - the outcome
        return f"{type(failure).__name__}: {failure}"
    if way == "stream":
        result, *_ = [event async for event in handler.stream_events()]
    return result if way == "event" else shown(result.value)


def check(case: str, found: str) -> None:
    """Raise AssertionError where an outcome is not that of the case."""
    said = CASES[case].refused
    if said:
        pattern = f"^UnencodableEvent: this .*_{case} cannot be sent: .*{said}"
        assert re.search(pattern, found), found
        assert "; " in found
    else:
        assert found == shown(CASES[case].value)


app = serve(ValueFlow) if any(each.startswith("worker") for each in sys.argv) else None
