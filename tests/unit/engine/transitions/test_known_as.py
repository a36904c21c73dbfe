"""Under which of its names the state knows a step."""

from typing import Any

import pytest

from fleet import Event, StartEvent, StopEvent, step
from fleet.engine.transitions.draft import Work
from fleet.engine.transitions.scopes import Scope
from fleet.engine.transitions.versions import former_names
from fleet.records import state
from fleet.records.envelope import Envelope
from fleet.records.log import Delivered
from fleet.records.state import MemoryState
from fleet.workflow import definition
from fleet.workflow.definition import Definition


class Piece(Event):
    """One of several."""


class Other(Event):
    """It comes with a piece."""


class NamesFlow(Definition):
    """A release called these steps `take` and `gather`, which were `t` and `g`."""

    @step
    async def begin(self, ev: StartEvent) -> list[Piece]:
        return []

    @step(formerly="t")
    async def take(self, ev: Piece) -> None:
        """End its branch."""

    @step(formerly="g")
    async def gather(self, pieces: list[Piece]) -> StopEvent:
        return StopEvent()


class PairFlow(Definition):
    @step
    async def first(self, ev: StartEvent) -> Piece:
        return Piece()

    @step
    async def second(self, ev: StartEvent) -> Other:
        return Other()

    @step(formerly="p")
    async def pair(self, piece: Piece, other: Other) -> StopEvent:
        return StopEvent()


STEPS: dict[str, Any] = {
    one.shown: one for flow in (NamesFlow, PairFlow) for one in definition.graph(flow).steps
}
SCOPE = Scope(step="begin", event_id="e", joins=(("gather", "Piece"),))


def known(name: str, kept: dict[bytes, bytes], scope: str = "") -> str:
    """Return under which name the state, with what is *kept*, knows a step."""
    view = MemoryState()
    view.write(kept)
    record = Delivered("t", 0, 0, 0, b"r", b"{}", [])
    envelope = Envelope(run_id="r", event_id="e", type="Piece", scope=scope)
    return former_names.known_as(view, Work(record, envelope, Piece(), STEPS[name])).step.name


@pytest.mark.parametrize(
    ("name", "kept", "scope"),
    [
        ("take", {state.item_key("r", "s", "e", "take"): b""}, "s"),
        ("gather", {state.scope_key("r", "s"): SCOPE.encode()}, "s"),
        ("take", {state.call_key("r", "e", "take", "memo k"): b"1"}, ""),
        ("take", {state.edit_key("r", "e", "take", 3): b"1"}, ""),
        ("pair", {state.member_prefix("r", "-", "pair") + b"1\0o": b"Other\0{}"}, ""),
        ("pair", {state.member_prefix("r", "s", "pair") + b"1\0o": b"Other\0{}"}, "s"),
    ],
)
def test_what_was_begun_under_another_name_is_found(
    name: str, kept: dict[bytes, bytes], scope: str
) -> None:
    assert known(name, kept, scope) == name
    # Of another event or run it tells nothing.
    other = {key.replace(b"\0r\0", b"\0q\0"): value for key, value in kept.items()}
    assert known(name, other, scope) == name[0]


@pytest.mark.parametrize("name", ["take", "gather", "pair"])
def test_else_it_has_its_oldest_name(name: str) -> None:
    assert known(name, {}, "s") == name[0]


def test_a_step_that_was_not_renamed_has_its_name() -> None:
    assert known("begin", {state.call_key("r", "e", "begin", "memo k"): b"1"}) == "begin"
