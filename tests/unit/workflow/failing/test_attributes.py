"""The attributes of a step's exception, at who awaits the run."""

import enum
import json
import subprocess
from typing import Any

import httpx2
import openai
import pytest

from fleet import StartEvent, StopEvent, Workflow, WorkflowRuntimeError, step
from fleet.records.lifecycle import Failed
from fleet.workflow.failing import attributes, exceptions


class Refused(Exception):
    """An application's own error; its constructor does not take its text alone."""

    status: int
    ratio: float
    final: bool
    cause: None
    parts: list[Any]

    def __init__(self, code: str, **more: Any) -> None:
        super().__init__(f"refused: {code}")
        self.code = code
        vars(self).update(more)


class Slotted(Exception):
    """Keeps its code outside of `__dict__`."""

    __slots__ = ("code",)
    code: int


class Limit(enum.StrEnum):
    DAILY = "daily"


class Sly(Exception):
    """Runs code when it is looked at, or set."""

    ran = False

    @property
    def code(self) -> int:
        Sly.ran = True
        return 1

    def __setattr__(self, name: str, value: object) -> None:
        # Notes are added to it, as to any error.
        Sly.ran = Sly.ran or name != "__notes__"
        super().__setattr__(name, value)


def travelled(error: BaseException) -> Any:
    """Return what *error* is where the run is awaited: through bytes, as on Kafka."""
    failed = Failed(step="s", event_id="e", failure=exceptions.describe(error))
    return exceptions.revive(Failed.model_validate_json(failed.encode()), "r")


def test_plain_values_arrive() -> None:
    """With their types; an enum arrives as its value."""
    found = travelled(
        Refused("E7", status=429, ratio=0.5, final=True, cause=None, parts=["a", {"b": [1]}])
    )
    assert type(found) is Refused
    assert str(found) == "refused: E7"
    assert [found.code, found.status, found.ratio, found.final] == ["E7", 429, 0.5, True]
    assert [found.cause, found.parts] == [None, ["a", {"b": [1]}]]
    assert travelled(Refused("x", limit=Limit.DAILY)).limit == "daily"


def test_what_python_keeps_elsewhere_arrives() -> None:
    """In slots, and in the members of its own errors; some cannot say their text without."""
    slotted = Slotted("x")
    slotted.code = 7
    assert travelled(slotted).code == 7
    missing = travelled(FileNotFoundError(2, "no file", "a.txt"))
    assert (missing.errno, missing.filename, str(missing)) == (
        *(2, "a.txt"),
        "[Errno 2] no file: 'a.txt'",
    )
    assert travelled(OSError(28, "no space")).errno == 28
    called = travelled(subprocess.CalledProcessError(3, ["convert", "a"]))
    assert type(called) is subprocess.CalledProcessError
    assert (called.returncode, called.cmd) == (3, ["convert", "a"])
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{1")
    assert travelled(caught.value).pos == caught.value.pos == 1
    assert travelled(ImportError("no", name="cats")).name == "cats"


def test_an_error_of_a_models_client_arrives() -> None:
    """With the response's status and text, and neither its request nor headers."""
    request = httpx2.Request("POST", "http://h/v1", headers={"Authorization": "Bearer sk-geheim"})
    response = httpx2.Response(429, text='{"error": "slow down"}', request=request)
    body = {"message": "slow down", "code": "rate_limit", "api_key": "sk-geheim"}
    found = travelled(openai.RateLimitError("slow down", response=response, body=body))
    assert type(found) is openai.RateLimitError
    assert (found.status_code, found.code, found.body) == (
        *(429, "rate_limit"),
        {"message": "slow down", "code": "rate_limit"},
    )
    assert (found.response.status_code, found.response.text) == (429, '{"error": "slow down"}')
    assert not hasattr(found, "request")
    assert "geheim" not in repr(vars(found))


@pytest.mark.parametrize(
    "name",
    ["headers", "Authorization", "api_key", "apikey", "password", "access_token", "client_secret",
     "cookies", "session", "credentials", "auth", "_hidden", "__notes__", "request_headers"],
)  # fmt: skip
def test_a_secret_stays(name: str) -> None:
    """By its name, at any depth."""
    found = attributes.read(Refused("x", **{name: "geheim", "deep": [{name: "geheim"}]}))
    assert found.keys() == {"code", "deep"}
    assert "geheim" not in str(found) or name.startswith("_")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Bearer abc.def", "Bearer [hidden]"),
        ("key sk-proj-0123456789abcdef", "key [hidden]"),
        ("http://me:geheim@host/x", "http://me:[hidden]@host/x"),
        ("max_tokens is 7", "max_tokens is 7"),
    ],
)
def test_a_secret_in_a_text_is_hidden(text: str, told: str) -> None:
    """Where its form says that it is one."""
    assert attributes.read(Refused("x", detail=text))["detail"] == told


def test_what_is_no_plain_value_stays() -> None:
    """It is left out, as what has no JSON; the rest arrives."""
    loop: list[Any] = []
    loop.append(loop)
    odd = {"a": object(), "b": b"x", "c": {1: 2}, "d": float("nan"), "e": 2**70, "f": loop}
    found = attributes.read(Refused("x", **odd, deep=[[[[[1]]]]], wide=list(range(99))))
    assert found == {"code": "x", "c": {}}


def test_its_size_is_bounded() -> None:
    """In texts, in number and as a whole."""
    many = {f"field_{number}": "x" * 5_000 for number in range(1_000)}
    found = attributes.read(Refused("x", **many))
    assert len(json.dumps(found)) < 20_000
    assert len(found["field_0"]) == 2_000


def test_no_code_of_the_type_runs() -> None:
    """Neither where it is read nor where it is written."""
    sly = Sly("x")
    vars(sly)["status"] = 5
    found = travelled(sly)
    assert (type(found), found.status) == (Sly, 5)
    attributes.write(found, {"code": 7, "__class__": "x", "args": [1], "add_note": 1})
    assert not Sly.ran
    assert found.args == ("x",)


def test_an_unknown_type_keeps_its_attributes() -> None:
    """On the error that stands for it; they overrule nothing of ours."""
    failure = exceptions.describe(Refused("E7", permanent=False))
    failed = Failed(step="s", event_id="e", failure=failure.model_copy(update={"module": "gone"}))
    found = exceptions.revive(failed, "r")
    assert isinstance(found, WorkflowRuntimeError)
    assert (vars(found)["code"], found.permanent) == ("E7", True)


def test_a_record_without_attributes_is_read() -> None:
    """As an older worker writes it."""
    failure = b'{"module":"builtins","type":"KeyError","message":"1","args":[1]}'
    value = b'{"step":"s","event_id":"e","failure":%b}' % failure
    assert type(exceptions.revive(Failed.model_validate_json(value), "r")) is KeyError


async def test_the_caller_of_a_run_gets_them() -> None:
    """In memory as on Kafka."""

    class Flow(Workflow):
        @step
        async def fail(self, ev: StartEvent) -> StopEvent:
            raise Refused("E7", status=429)

    with pytest.raises(Refused) as caught:
        await Flow(timeout=5).run()
    assert (caught.value.code, vars(caught.value)["status"]) == ("E7", 429)
