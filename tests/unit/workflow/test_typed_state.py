"""The state of a run as an object: of the model that the steps name, or a DictState."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, SecretStr, model_validator
from test_store import Counted, now

from fleet import Context, ContextStateError, StartEvent, StopEvent, WorkflowValidationError, step
from fleet.records import limits
from fleet.records.state import MemoryState, Overlay, context_prefix
from fleet.workflow import definition
from fleet.workflow.context_state import leaves, state_type
from fleet.workflow.context_state.block import Block
from fleet.workflow.context_state.dict_state import DictState
from fleet.workflow.context_state.leaves import Values
from fleet.workflow.definition import Definition
from fleet.workflow.editing import Edit
from fleet.workflow.errors import ContextValueTooLarge
from fleet.workflow.store import Store

RUN = context_prefix("run")


class User(BaseModel):
    name: str
    age: int = 3


class State(BaseModel):
    count: int = 0
    when: datetime | None = None
    user: User = User(name="x")
    results: dict[str, int] = Field(default_factory=dict)
    prices: dict[str, Decimal] = {"tea": Decimal("1.50")}
    tags: set[str] = set()
    users: list[User] = []
    handle: Any = Field(None, exclude=True)


class Attempt:
    """One attempt's store over a state, with plain methods."""

    def __init__(self, below: MemoryState | Overlay, model: type[BaseModel] | None = State) -> None:
        self.changes = Overlay(below)
        self.store: Store[Any] = Store(self.changes, RUN, state_type.of(model))

    def get(self, path: str, *default: Any) -> Any:
        return now(self.store.get(path, *default))

    def set(self, path: str, value: Any) -> None:
        now(self.store.set(path, value))

    def delete(self, path: str) -> None:
        now(self.store.delete(path))

    @property
    def state(self) -> Any:
        return now(self.store.get_state())

    @state.setter
    def state(self, state: Any) -> None:
        now(self.store.set_state(state))

    @property
    def kept(self) -> frozenset[str]:
        """Paths with a value."""
        found = (key for key, value in self.changes.changes.items() if value)
        return frozenset(key[len(RUN) :].decode() for key in found)


@pytest.fixture
def attempt() -> Attempt:
    return Attempt(MemoryState())


class TestTyped:
    def test_a_run_begins_with_the_defaults(self, attempt: Attempt) -> None:
        """Nothing is kept of them."""
        assert attempt.state == State()
        assert attempt.get("user.age") == 3
        assert attempt.kept == frozenset()

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("count", 5),
            ("when", datetime(2026, 1, 2, tzinfo=UTC)),
            ("user", User(name="Ada")),
            ("user.name", "Ada"),
            ("results.a", 1),
            ("prices.cake", Decimal("2.00")),
            ("tags", {"a"}),
            ("users", [User(name="Ada"), User(name="Bob")]),
        ],
        ids=str,
    )
    def test_a_value_comes_back_of_its_type(
        self, attempt: Attempt, path: str, value: object
    ) -> None:
        """In this attempt and in every later one, by its path and in the state."""
        attempt.set(path, value)
        below = MemoryState()
        below.write(attempt.changes.changes)
        for reader in (attempt, Attempt(below)):
            assert reader.get(path) == value
            assert type(reader.get(path)) is type(value)
            found: Any = reader.state
            for name in path.split("."):
                found = found[name] if isinstance(found, dict) else getattr(found, name)
            assert found == value

    def test_a_path_leads_into_lists_models_and_dictionaries(self, attempt: Attempt) -> None:
        """As in the values themselves; what is not there is an error without a default."""
        attempt.set("users", [User(name="Ada"), User(name="Bob")])
        assert attempt.get("users.1.name") == "Bob"
        attempt.set("users.1.name", "Eve")
        assert attempt.state.users == [User(name="Ada"), User(name="Eve")]
        for missing in ("nope", "users.2", "user.nope", "results.x", "count.real"):
            assert attempt.get(missing, "default") == "default"
            with pytest.raises(ValueError, match="has no value at"):
                attempt.get(missing)

    @pytest.mark.parametrize(
        ("path", "value", "said"),
        [
            ("count", "5", "'count' cannot be kept: a str would come back as an int; set a value"),
            ("user", {"name": "Ada"}, "'user' cannot be kept: a dict would come back as an User"),
            ("user.age", "x", "'user.age' cannot be kept: it could not be read again"),
            ("results.a", "b", "'results.a' cannot be kept: it could not be read again"),
            ("count", float("nan"), "'count' cannot be kept: "),
            ("nope", 1, "'nope' cannot be set: State has no field nope; it has count, when"),
            ("user.nope", 1, "'user.nope' cannot be set: User has no field nope; it has name, age"),
            ("users.0", User(name="x"), "'users.0' cannot be set: 'users' holds a list that has"),
            ("count.real", 1, "'count.real' cannot be set: 'count' holds a int that has no real"),
            ("handle", object(), r"'handle' cannot be kept: the field is not written \(exclude"),
        ],
    )
    def test_another_value_is_refused_with_its_path(
        self, attempt: Attempt, path: str, value: object, said: str
    ) -> None:
        """At once, and nothing is set."""
        with pytest.raises(ContextStateError, match=said):
            attempt.set(path, value)
        assert attempt.kept == frozenset()

    def test_a_value_that_is_too_large_is_refused_with_its_path(self, attempt: Attempt) -> None:
        """Before anything is committed."""
        with pytest.raises(ContextValueTooLarge, match="the value at 'user' has 2,000,0"):
            attempt.set("user.name", "x" * 2 * limits.VALUE_BYTES)
        with pytest.raises(ContextStateError, match="a path has at most 1,000"):
            attempt.set(f"results.{'x' * limits.PATH_LENGTH}", 1)
        assert attempt.kept == frozenset()

    def test_what_is_read_is_a_copy(self, attempt: Attempt) -> None:
        """A change of it changes nothing."""
        attempt.state.users.append(User(name="Ada"))
        attempt.get("users").append(User(name="Ada"))
        assert attempt.state == State()

    def test_members_of_a_dictionary_are_kept_one_by_one(self) -> None:
        """Two attempts at the same time may set different ones; a default with members is kept."""
        below = MemoryState()
        one, other = Attempt(below), Attempt(below)
        one.set("results.a", 1)
        one.set("prices.cake", Decimal(2))
        other.set("results.b", 2)
        committed = Overlay(below)
        leaves.apply(committed, one.store.changes(), RUN)
        leaves.apply(committed, other.store.changes(), RUN)
        found = Attempt(committed).state
        assert found.results == {"a": 1, "b": 2}
        assert found.prices == {"tea": Decimal("1.50"), "cake": Decimal(2)}

    def test_a_model_is_kept_as_a_whole(self, attempt: Attempt) -> None:
        """So what is read of it is what one step has written."""
        attempt.set("user.name", "Ada")
        assert attempt.kept == {"user"}

    def test_a_member_costs_what_it_is(self) -> None:
        """A step that sets one of 16,000 members reads none of the others."""
        state = Counted()
        attempt = Attempt(state)
        for number in range(1_000):
            attempt.set(f"results.{number}", number)
            assert attempt.get(f"results.{number}") == number
        assert state.handed_out == 0
        assert attempt.state.results == {str(number): number for number in range(1_000)}

    def test_deleting(self, attempt: Attempt) -> None:
        """A field gets its default again, a member goes; a field of a model stays."""
        attempt.set("count", 5)
        attempt.delete("count")
        attempt.delete("prices.tea")
        attempt.delete("results.none")
        assert attempt.state == State(prices={})
        with pytest.raises(ContextStateError, match="it is a field of User; set it to another"):
            attempt.delete("user.name")

    def test_clear_goes_back_to_the_defaults(self, attempt: Attempt) -> None:
        """Also a field whose default has members."""
        attempt.set("count", 5)
        attempt.set("prices.cake", Decimal(2))
        now(attempt.store.clear())
        assert attempt.state == State()

    def test_set_state_replaces_everything(self, attempt: Attempt) -> None:
        """Only what differs is kept."""
        attempt.set("results.a", 1)
        attempt.state = State(count=4)
        assert attempt.state == State(count=4)
        assert attempt.kept == {"count", "results"}

    def test_an_object_of_a_parent_replaces_what_it_has(self, attempt: Attempt) -> None:
        """Other models are refused."""

        class Parent(BaseModel):
            count: int = 0

        class Child(Parent):
            name: str = "x"

        child = Attempt(MemoryState(), Child)
        child.set("name", "Ada")
        child.state = Parent(count=2)
        assert child.state == Child(count=2, name="Ada")
        for wrong in (User(name="x"), {"count": 1}, None):
            with pytest.raises(ValueError, match="State must be of type Child or a parent type"):
                child.state = wrong

    def test_values_of_another_version_are_left_out_or_named(self, attempt: Attempt) -> None:
        """A field that is gone is no matter; one whose type has changed is."""
        below = MemoryState()
        below.write({RUN + b"gone": b"1", RUN + b"count": b"2"})
        assert Attempt(below).state == State(count=2)
        below.write({RUN + b"count": b'"many"'})
        with pytest.raises(ContextStateError, match="cannot be read as State: count: Input should"):
            _ = Attempt(below).state

    def test_a_context_that_a_run_began_with_is_read_as_typed(self) -> None:
        """A replay may bring one; its dictionaries are kept by their members."""
        below = MemoryState()
        begun = Overlay(below)
        leaves.begin(begun, '{"user": {"name": "Ada", "age": 40}, "count": 2}', RUN)
        below.write(begun.changes)
        attempt = Attempt(below)
        assert attempt.state == State(count=2, user=User(name="Ada", age=40))
        attempt.set("user.name", "Eve")
        assert attempt.state.user == User(name="Eve", age=40)

    def test_validators_that_look_at_several_fields_see_them_all(self) -> None:
        """Whatever is read or set alone."""

        class Range(BaseModel):
            low: int = 0
            high: int = 10

            @model_validator(mode="after")
            def _in_order(self) -> "Range":
                if self.low > self.high:
                    raise ValueError("low is above high")
                return self

        attempt = Attempt(MemoryState(), Range)
        attempt.set("high", 50)
        attempt.set("low", 20)
        assert attempt.get("low") == 20
        with pytest.raises(ContextStateError, match="low is above high"):
            attempt.set("high", 15)

    def test_free_fields_are_kept(self) -> None:
        """Where the model allows them."""

        class Open(BaseModel):
            model_config = ConfigDict(extra="allow")
            count: int = 0

        attempt = Attempt(MemoryState(), Open)
        attempt.set("more", [1])
        assert attempt.get("more") == [1]
        assert attempt.state == Open.model_validate({"more": [1]})


class TestUntyped:
    @pytest.fixture
    def attempt(self) -> Attempt:
        return Attempt(MemoryState(), None)

    def test_names_are_keys_and_attributes(self, attempt: Attempt) -> None:
        """As in a dictionary that can be written as an object."""
        attempt.set("user.name", "Ada")
        state = attempt.state
        assert state == {"user": {"name": "Ada"}}
        assert state.user is state["user"]
        state.count = 1
        del state["user"]
        assert ("user" in state, state.get("count"), len(state)) == (False, 1, 1)
        with pytest.raises(AttributeError, match="the run's context has no value 'user'"):
            _ = state.user
        assert attempt.get("user") == {"name": "Ada"}

    @pytest.mark.parametrize("state", [DictState(a={"b": 2}), {"a": {"b": 2}}])
    def test_set_state_replaces_everything(self, attempt: Attempt, state: Any) -> None:
        """With a DictState or a dictionary."""
        attempt.set("old", 1)
        attempt.state = state
        assert attempt.state == {"a": {"b": 2}}

    @pytest.mark.parametrize(
        ("state", "said"),
        [
            (5, "a DictState or a dictionary, not a int"),
            (User(name="x"), "let the steps name it: `ctx: Context"),
            ({"a.b": 1}, "'a.b' cannot be a name in the context"),
            ({"a": {1: 2}}, "'a' cannot be kept: a key of type int"),
            ({"a": User(name="x")}, r"an User would come back as.*`ctx: Context\[MyState\]`"),
            ({"a": "x" * 2_000_000}, "the value at 'a' has 2,000,002 bytes"),
        ],
    )
    def test_what_it_cannot_hold_is_refused(self, attempt: Attempt, state: Any, said: str) -> None:
        """With the path, and nothing is set."""
        with pytest.raises(ContextStateError, match=said):
            attempt.state = state
        assert attempt.kept == frozenset()


class Parent(BaseModel):
    count: int = 0


class Child(Parent):
    name: str = ""


class Stranger(BaseModel):
    count: int = 0


class Bare(BaseModel):
    count: int


class Rooted(RootModel[list[int]]):
    root: list[int] = []


class Secretive(BaseModel):
    key: SecretStr = SecretStr("x")


def flow(*annotations: Any) -> type[Definition]:
    """Return a workflow whose steps annotate their contexts so."""

    members = {}
    for number, annotation in enumerate(annotations):

        async def work(self: Any, ctx: Any, ev: StartEvent) -> StopEvent | None: ...

        work.__annotations__ = {"ctx": annotation, "ev": StartEvent, "return": StopEvent | None}
        members[f"work{number}"] = step(work)
    return type("Flow", (Definition,), members)


class TestModels:
    @pytest.mark.parametrize(
        ("annotations", "model"),
        [
            ((Context, Context), None),
            ((Context[Any], Context[DictState]), None),
            ((Context[Parent], Context), Parent),
            ((Context[Child], Context[Parent]), Child),
            ((Context[Parent], Context[Child], Context[Parent]), Child),
        ],
    )
    def test_the_most_derived_one_is_the_states(
        self, annotations: tuple[Any, ...], model: type[BaseModel] | None
    ) -> None:
        """Whichever step names it."""
        assert definition.graph(flow(*annotations)).state_model is model

    @pytest.mark.parametrize(
        ("annotations", "said"),
        [
            (
                (Context[Parent], Context[Stranger]),
                r"none inherits from all others: Parent \(step work0\), Stranger \(step work1\)",
            ),
            ((Context[Bare],), r"the state Bare \(step work0\) has no default for count"),
            ((Context[Secretive],), "Secretive.*key"),
            (
                (Context[dict[str, int]],),
                "work0 names the state dict, which is no pydantic model",
            ),
            ((Context[Rooted],), "names the state Rooted, which is no pydantic model with"),
        ],
    )
    def test_others_are_findings(self, annotations: tuple[Any, ...], said: str) -> None:
        """Before anything runs, with steps, models and the fix."""
        with pytest.raises(WorkflowValidationError, match=said):
            definition.graph(flow(*annotations))


class TestBlocks:
    """What a block of `edit_state()` has changed."""

    def changed(self, below: MemoryState, model: type[BaseModel] | None, **new: Any) -> list[str]:
        """Return the paths that a block has changed, which sets values."""
        kind = state_type.of(model)
        block = Block(Values(below, RUN), kind)
        for name, value in new.items():
            setattr(block.state, name, value)
        return sorted(leaves.difference(*block.compared()))

    @pytest.mark.parametrize("order", [b'["a","b","c"]', b'["c","a","b"]', b'["b","c","a"]'])
    def test_what_json_may_write_in_several_ways_is_compared_as_a_value(self, order: bytes) -> None:
        """Another process may have written the members of a set in another order."""
        below = MemoryState()
        below.write({RUN + b"tags": order, RUN + b"count": b"1"})
        assert self.changed(below, State, count=2) == ["count"]
        assert self.changed(below, State, tags={"c", "b", "a"}) == []
        assert self.changed(below, State, tags={"c", "b"}) == ["tags"]

    def test_a_default_that_differs_each_time_is_no_change(self) -> None:
        """The block sees one; it is kept once the block sets it."""
        numbers = iter(range(100))

        class Drawn(BaseModel):
            count: int = 0
            token: int = Field(default_factory=lambda: next(numbers))

        assert self.changed(MemoryState(), Drawn, count=1) == ["count"]
        assert self.changed(MemoryState(), Drawn, token=-1) == ["token"]

    def test_what_another_version_has_is_no_change(self) -> None:
        """A block leaves alone what its model does not have."""
        below = MemoryState()
        below.write({RUN + b"gone": b"1", RUN + b"user.name": b'"Ada"', RUN + b"user.age": b"3"})
        assert self.changed(below, State, count=2) == ["count"]
        assert self.changed(below, State, user=User(name="Ada")) == []

    def test_the_first_change_of_a_default_keeps_all_of_it(self) -> None:
        """Else its other members would be gone."""
        edits: list[Edit] = []

        class Takes:
            @asynccontextmanager
            async def turn(self) -> AsyncIterator[None]:
                yield

            async def replaced(self, _number: int) -> None:
                return None

            def edit(self, _number: int, edit: Edit) -> Awaitable[None]:
                edits.append(edit)
                return asyncio.sleep(0)

        async def add() -> None:
            kind = state_type.of(State)
            store: Store[Any] = Store(Overlay(MemoryState()), RUN, kind, Takes)
            async with store.edit_state() as state:
                state.prices["cake"] = Decimal(2)

        asyncio.run(add())
        (edit,) = edits
        assert edit.changes == {"prices.tea": b'"1.50"', "prices.cake": b'"2"'}
        assert edit.before == {"prices.tea": b'"1.50"', "prices.cake": None}

    def test_a_member_that_goes_and_one_that_comes(self) -> None:
        """Of a dictionary the others are no part of the change."""
        below = MemoryState()
        below.write({RUN + b"results.%d" % n: b"%d" % n for n in range(5)})
        kept = {str(n): n for n in range(1, 5)}
        for model in (State, None):
            new = {**kept, "7": 7}
            assert self.changed(below, model, results=new) == ["results.0", "results.7"]
        assert self.changed(below, State, results={}) == [
            "results",
            *(f"results.{n}" for n in range(5)),
        ]
