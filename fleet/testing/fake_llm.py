"""`FakeLLM`: a model for tests that answers by the prompt, without HTTP."""

import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from fleet.llm import LLM
from fleet.llm.client import SCRIPTED, Completion
from fleet.llm.recorded import Memo
from fleet.records.errors import FleetError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

#: A text, an error to raise, or a function of the prompt that returns a text or raises.
Answer: TypeAlias = str | BaseException | Callable[[str], str]
#: One answer for every call, or one for each call in turn.
Answers: TypeAlias = Answer | Sequence[Answer]

#: Longest prompt in an error message, in characters.
_SHOWN = 200


class NoFakeAnswer(FleetError):
    """Raised when a `FakeLLM` has no answer to a prompt.

    What to do: Add a pattern that is found in the prompt, or one more answer to its list.
    """

    def __init__(self, prompt: str, why: str) -> None:
        shown = prompt if len(prompt) <= _SHOWN else f"{prompt[:_SHOWN]}…"
        super().__init__(f"the FakeLLM has no answer to the prompt {shown!r}: {why}")


class NoFakeClient(FleetError):
    """Raised when a workflow asks a `FakeLLM` for its openai client.

    What to do: Use the fixture `scripted_llm` in this test: it is a real server for that client.
    """

    def __init__(self) -> None:
        super().__init__(
            "a FakeLLM has no openai client; use the fixture `scripted_llm`, a real server for it"
        )


class FakeLLM(LLM):
    """An `LLM` that calls no server: `flow.llm = FakeLLM({"joke about": "A joke."})`.

    *answers* has regular expressions, which are looked for in the prompt. The first one found
    answers: with a text, with an error that it raises, with what a function of the prompt returns,
    or with the next one of a list. A prompt without an answer raises NoFakeAnswer. Answers are
    recorded as those of `LLM` are, so a call that is not made again is not in `prompts`.
    """

    def __init__(self, answers: Mapping[str, Answers], *, memo: Memo = "auto") -> None:
        super().__init__(SCRIPTED, memo=memo)
        self._answers = [
            (re.compile(pattern, re.DOTALL), answer) for pattern, answer in answers.items()
        ]
        self._taken: dict[str, int] = {}
        #: The prompts of the calls that were made, in order.
        self.prompts: list[str] = []
        #: What was asked, as openai's `create` would get it.
        self.requests: list[dict[str, Any]] = []

    @property
    def client(self) -> "AsyncOpenAI":
        """Raise NoFakeClient."""
        raise NoFakeClient

    async def _asked(self, request: dict[str, Any]) -> Completion:
        text = self._answer(request)
        words = [len(message["content"].split()) for message in request["messages"]]
        return Completion(text, request["model"], sum(words), len(text.split()), scripted=True)

    async def _pieces(self, request: dict[str, Any]) -> AsyncGenerator[str, None]:
        for piece in re.findall(r"\s*\S+\s*\Z|\s*\S+|\s+", self._answer(request)):
            yield piece

    def _answer(self, request: dict[str, Any]) -> str:
        prompt = str(request["messages"][-1]["content"])
        self.prompts.append(prompt)
        self.requests.append(request)
        for pattern, answers in self._answers:
            if pattern.search(prompt):
                return _said(self._next(prompt, pattern.pattern, answers), prompt)
        known = ", ".join(repr(pattern.pattern) for pattern, _ in self._answers) or "none"
        raise NoFakeAnswer(prompt, f"none of its patterns is found there ({known})")

    def _next(self, prompt: str, pattern: str, answers: Answers) -> Answer:
        if isinstance(answers, str) or not isinstance(answers, Sequence):
            return answers
        taken = self._taken.get(pattern, 0)
        if taken == len(answers):
            raise NoFakeAnswer(prompt, f"all answers of {pattern!r} have been given: {taken}")
        self._taken[pattern] = taken + 1
        return answers[taken]


def _said(answer: Answer, prompt: str) -> str:
    if isinstance(answer, BaseException):
        raise answer
    return answer if isinstance(answer, str) else answer(prompt)
