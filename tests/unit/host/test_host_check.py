"""The start-up check: an upgrade of Faust or aiokafka fails loudly."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from faust.transport.drivers import aiokafka as driver

from fleet.api.serving import FleetApp
from fleet.host import compatibility
from fleet.host.compatibility import IncompatibleHost, check_host
from fleet.host.consumer import Consumer
from fleet.host.hook_check import (
    BEFORE_RECORDS,
    OVERDUE_COMMITS,
    SOONER_OR_LATER,
    HookCheck,
)
from fleet.host.hooks import hook, hooks_of, uncalled
from fleet.host.transport import OVERRIDING

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
#: How often the consumers here commit.
COMMIT_SECONDS = 2.0
OURS = (*OVERRIDING, FleetApp)
HOOKS = [(owner, name) for owner in OURS for name in hooks_of(owner)]
CALLED = [(owner, name) for owner, methods in compatibility._METHODS.items() for name in methods]


def rename(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    """Let the classes of the host that *owner* has *name* from have it no more."""
    for each in owner.__mro__:
        if name in vars(each) and each not in OURS:
            monkeypatch.delattr(each, name)


def test_the_installed_host_is_what_we_were_made_for() -> None:
    """With the pinned versions nothing is found."""
    check_host(OURS)


def test_the_tested_versions_are_the_pinned_ones() -> None:
    """Whoever moves a pin moves what the check compares with."""
    pinned = tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]

    for name, version in compatibility.TESTED_VERSIONS.items():
        assert f"{name}=={version}" in pinned


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed version that was not tested is named, with the ones that were."""
    monkeypatch.setitem(compatibility.TESTED_VERSIONS, "aiokafka", "0.0.1")

    with pytest.raises(IncompatibleHost, match=r"aiokafka 0.14.0 is installed.*aiokafka==0\.0\.1"):
        check_host(OURS)


@pytest.mark.parametrize(("owner", "name"), HOOKS, ids=[f"{o.__name__}.{n}" for o, n in HOOKS])
def test_a_hook_that_the_host_lost_is_named(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    """A method that we override and that Faust has renamed stops the start."""
    rename(monkeypatch, owner, name)

    with pytest.raises(IncompatibleHost, match=rf"\.{name} is missing"):
        check_host(OURS)


@pytest.mark.parametrize(("owner", "name"), CALLED, ids=[f"{o.__name__}.{n}" for o, n in CALLED])
def test_a_method_that_the_host_lost_is_named(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    """A private method that we call and that is gone stops the start."""
    rename(monkeypatch, owner, name)

    with pytest.raises(IncompatibleHost, match=rf"\.{name} is missing"):
        check_host(OURS)


def test_a_method_that_is_only_declared_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of a renamed method in an abstract class does nothing."""
    monkeypatch.delattr(driver.Consumer, "_to_message")

    with pytest.raises(IncompatibleHost, match=r"Consumer\._to_message is missing"):
        check_host(OURS)


def test_a_changed_signature_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook that Faust would call with other arguments stops the start."""

    def drain(self: Any, fetcher: Any, generation: int) -> None:
        """As a later version might have it."""

    monkeypatch.setattr(driver.Consumer, "_drain_messages", drain)

    with pytest.raises(
        IncompatibleHost, match=r"takes \(fetcher, generation\) and not \(fetcher\)"
    ):
        check_host(OURS)


class Renamed:
    """An aiokafka consumer whose attributes got other names."""

    def __init__(self) -> None:
        self._isolation = "read_uncommitted"


def test_an_attribute_that_is_never_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """We set attributes of instances; one that the host does not know would do nothing."""
    monkeypatch.setattr(compatibility, "_ATTRIBUTES", {Renamed: ("_isolation_level",)})

    with pytest.raises(IncompatibleHost, match=r"Renamed\._isolation_level is missing"):
        check_host(OURS)


def test_a_hook_knows_whether_it_was_called() -> None:
    """Each object notes its own calls, also those from the constructor of its class."""

    class Host:
        def __init__(self) -> None:
            self.early()

        def early(self) -> None: ...

        def late(self) -> int:
            return 0

    class Ours(Host):
        @hook
        def early(self) -> None: ...

        @hook
        def late(self) -> int:
            return 1

    first, second = Ours(), Ours()
    assert first.late() == 1

    assert uncalled(first, ("early", "late")) == []
    assert uncalled(second, ("early", "late")) == ["Ours.late"]


def check(called: tuple[str, ...], *findings: str) -> HookCheck:
    """Return the check of a consumer on which Faust has called these hooks."""
    made = Consumer.__new__(Consumer)
    made.__dict__["_called_hooks"] = set(called)
    return HookCheck(made, lambda: findings, COMMIT_SECONDS)


@pytest.mark.parametrize("name", BEFORE_RECORDS)
def test_no_record_is_taken_past_a_hook_that_was_not_called(name: str) -> None:
    """Before the first record, every hook that had to be called was, or the worker ends."""
    called = tuple(each for each in BEFORE_RECORDS if each != name)

    with pytest.raises(IncompatibleHost, match=rf"Consumer\.{name}"):
        check(called).before_records()


def test_no_record_is_taken_from_a_consumer_that_is_set_up_otherwise() -> None:
    """A consumer that would read what is not committed ends the worker."""
    with pytest.raises(IncompatibleHost, match="reads what is not committed"):
        check(BEFORE_RECORDS, "the consumer reads what is not committed").before_records()


def test_records_are_taken_when_every_hook_was_called() -> None:
    """The check lets a host that does as it should go on, and is made once."""
    asked: list[int] = []
    made = check(BEFORE_RECORDS)
    made._findings = lambda: asked.append(1) or ()  # type: ignore[func-returns-value]

    made.before_records()
    made.before_records()

    assert asked == [1]


@pytest.mark.parametrize("name", SOONER_OR_LATER)
def test_a_hook_that_is_never_called_ends_the_worker(name: str) -> None:
    """With tasks there, what Faust does for each commit was done within a few of them."""
    made = check(tuple(each for each in SOONER_OR_LATER if each != name))
    for _ in range(OVERDUE_COMMITS):
        made.look(COMMIT_SECONDS, due=True)

    with pytest.raises(IncompatibleHost, match=rf"Consumer\.{name} is not called"):
        made.look(COMMIT_SECONDS, due=True)


def test_a_hook_is_not_due_without_tasks() -> None:
    """While tables are recovered Faust commits nothing; afterwards it has its full time again."""
    made = check(())
    for _ in range(OVERDUE_COMMITS):
        made.look(COMMIT_SECONDS, due=True)
    made.look(COMMIT_SECONDS, due=False)

    for _ in range(OVERDUE_COMMITS):
        made.look(COMMIT_SECONDS, due=True)
