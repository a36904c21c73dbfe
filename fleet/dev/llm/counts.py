"""
What was asked and what was paid for.

An answered call is a paid one, also when its caller has been killed meanwhile: a provider works on
and sends the bill. `started` tells how many were asked at all, so the difference is in flight or
failed.
"""

from collections import Counter
from dataclasses import dataclass, field

from fleet.dev.fault_kinds import KINDS
from fleet.dev.llm.faults import Call, Fault
from fleet.dev.llm.protocol import ChatRequest, Json


@dataclass(slots=True)
class PromptCount:
    """How often one conversation was asked and answered."""

    prompt: str
    started: int = 0
    answered: int = 0


@dataclass(slots=True)
class Counts:
    """Everything counted since the start or the last reset."""

    invalid: int = 0
    in_flight: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    prompts: dict[str, PromptCount] = field(default_factory=dict)

    def start(self, chat: ChatRequest) -> Call:
        """Count a call that has arrived."""
        count = self.prompts.setdefault(chat.key, PromptCount(chat.prompt))
        call = Call(chat.key, chat.prompt, repetition=count.started)
        count.started += 1
        self.in_flight += 1
        return call

    def answer(self, chat: ChatRequest) -> None:
        """Count an answer: from here on it is paid for."""
        # After a reset the call's conversation may be unknown; its answer still counts.
        self.prompts.setdefault(chat.key, PromptCount(chat.prompt)).answered += 1
        self.prompt_tokens += chat.usage["prompt_tokens"]
        self.completion_tokens += chat.usage["completion_tokens"]

    def fail(self, fault: Fault) -> None:
        """Count a call that got a fault instead of an answer."""
        self.faults[fault.kind] += 1

    def finish(self) -> None:
        """Count a call that is no longer in flight, whatever came of it."""
        self.in_flight -= 1

    def reset(self) -> None:
        """Forget everything but the calls that are in flight now."""
        self.invalid = self.prompt_tokens = self.completion_tokens = 0
        self.faults.clear()
        self.prompts.clear()

    def report(self) -> Json:
        """Return the counts as GET /stats shows them."""
        prompts = self.prompts
        return {
            "scripted": True,
            "requests": sum(count.started for count in prompts.values()),
            "answered": sum(count.answered for count in prompts.values()),
            "in_flight": self.in_flight,
            "invalid": self.invalid,
            "faults": {kind: self.faults[kind] for kind in KINDS},
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "started_by_prompt": {key: count.started for key, count in prompts.items()},
            "answered_by_prompt": {key: count.answered for key, count in prompts.items()},
            "repeated": [_row(key, count) for key, count in prompts.items() if count.started > 1],
        }


def _row(key: str, count: PromptCount) -> Json:
    return {
        "key": key,
        "prompt": count.prompt,
        "started": count.started,
        "answered": count.answered,
    }
