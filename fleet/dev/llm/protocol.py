"""
The part of OpenAI's chat protocol that the scripted model speaks, as plain JSON.

Every answer is labelled: the model is called `scripted`, and so is the system fingerprint.
"""

import json
import time
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, Field, PrivateAttr

from fleet.dev.llm import answers

#: Model name and system fingerprint of every answer.
LABEL = "scripted"

Json = dict[str, Any]


class Part(BaseModel):
    """A piece of a message; those that are not text (images, audio) are read as empty."""

    text: str = ""


class Message(BaseModel):
    """One message of a conversation."""

    role: str
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """What the message says."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    """What a streamed answer has besides its text."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """A call of /v1/chat/completions. Any model name does; sampling options change nothing."""

    messages: list[Message] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    #: Who asks, by the caller's own account; it changes nothing.
    user: str | None = None
    _given: str | None = PrivateAttr(None)

    @cached_property
    def prompt(self) -> str:
        """The user's last message, or the last of all if the user has none."""
        users = [message for message in self.messages if message.role == "user"]
        return (users or self.messages)[-1].text

    @cached_property
    def key(self) -> str:
        """The name of this conversation in the counts."""
        return answers.key(json.dumps([[m.role, m.text] for m in self.messages]))

    @cached_property
    def answer(self) -> str:
        """What the scripted model says to it."""
        if self._given is not None:
            return self._given
        return answers.answer(self.prompt, self.key)

    def give(self, answer: str | None) -> None:
        """Take the answer that the behaviour has; None: it has none."""
        self._given = answer

    @cached_property
    def usage(self) -> dict[str, int]:
        """The tokens of prompt and answer, as a bill would have them."""
        asked = sum(answers.tokens(message.text) + 4 for message in self.messages)
        said = answers.tokens(self.answer)
        return {
            "prompt_tokens": asked,
            "completion_tokens": said,
            "total_tokens": asked + said,
        }


def completion(chat: ChatRequest) -> Json:
    """Return the whole answer at once."""
    message = {"role": "assistant", "content": chat.answer}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _head(chat, "chat.completion") | {"choices": [choice], "usage": chat.usage}


def chunks(chat: ChatRequest) -> Iterator[Json]:
    """Return the answer word by word, then its end, then the usage if it was asked for."""
    yield _chunk(chat, {"role": "assistant", "content": ""})
    for piece in answers.pieces(chat.answer):
        yield _chunk(chat, {"content": piece})
    yield _chunk(chat, {}, finish_reason="stop")
    if chat.stream_options and chat.stream_options.include_usage:
        yield _head(chat, "chat.completion.chunk") | {"choices": [], "usage": chat.usage}


def models() -> Json:
    """Return the one model there is."""
    model = {"id": LABEL, "object": "model", "created": 0, "owned_by": "fleet dev llm"}
    return {"object": "list", "data": [model]}


def error(message: str, kind: str) -> Json:
    """Return an error in OpenAI's form."""
    return {"error": {"message": f"scripted: {message}", "type": kind, "param": None, "code": kind}}


def _chunk(chat: ChatRequest, delta: Json, finish_reason: Literal["stop"] | None = None) -> Json:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return _head(chat, "chat.completion.chunk") | {"choices": [choice]}


def _head(chat: ChatRequest, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{LABEL}-{chat.key}",
        "object": kind,
        "created": int(time.time()),
        "model": LABEL,
        "system_fingerprint": LABEL,
    }
