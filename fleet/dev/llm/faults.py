"""
How the scripted model behaves: how slow it is, and what goes wrong when.

What goes wrong by rate is drawn from seed, conversation and how often it was asked before, not from
a running generator: the same calls meet the same faults in whatever order they arrive.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fleet.dev.fault_kinds import FaultKind


class Fault(BaseModel):
    """Something that goes wrong, for every call unless it is narrowed down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: What goes wrong.
    kind: FaultKind
    #: Spent after this many calls; None is never.
    next: Annotated[int, Field(ge=1)] | None = None
    #: The share of calls that it strikes.
    rate: Annotated[float, Field(ge=0, le=1)] = 1
    #: Strikes only prompts that contain this text.
    containing: str = ""
    #: What a 429 asks for in its header Retry-After.
    retry_after_seconds: Annotated[float, Field(ge=0)] = 1


class Answer(BaseModel):
    """What the model says to some prompts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: A regular expression that is looked for in the prompt; its `.` is any character.
    matching: str
    #: The whole answer.
    text: str

    @field_validator("matching")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern, re.DOTALL)
        except re.error as failure:
            raise ValueError(f"no regular expression: {failure}") from None
        return pattern

    def is_for(self, prompt: str) -> bool:
        """Tell whether it answers *prompt*."""
        return re.search(self.matching, prompt, re.DOTALL) is not None


class Behaviour(BaseModel):
    """Everything about the scripted model that can be set, at start and while it runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Time to a whole answer; a streamed one is spread over it. Faults strike at once.
    latency_seconds: Annotated[float, Field(ge=0)] = 0
    #: Added to the latency: from nothing to this much, drawn per call.
    jitter_seconds: Annotated[float, Field(ge=0)] = 0
    #: Of the draws for jitter and for faults by rate.
    seed: int = 0
    #: The first that strikes wins.
    faults: tuple[Fault, ...] = ()
    #: The first that is for a prompt is what it gets; other prompts get the built-in answers.
    answers: tuple[Answer, ...] = ()
    #: Keeps the times of each call for GET /journal; memory grows with every call.
    journal: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the conversation's key, its prompt, and how often it was asked before."""

    key: str
    prompt: str
    repetition: int


class Script:
    """A behaviour in use: it knows how often its faults may still strike."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self._left = [fault.next for fault in behaviour.faults]

    def change(self, changes: Mapping[str, Any]) -> None:
        """Set some fields of the behaviour, or none if one is wrong (pydantic's ValidationError).

        Without `faults` among them, the faults keep what is left of them.
        """
        self.behaviour = Behaviour.model_validate({**self.behaviour.model_dump(), **changes})
        if "faults" in changes:
            self._left = [fault.next for fault in self.behaviour.faults]

    def add_answer(self, answer: Answer) -> None:
        """Add an answer behind those that there are."""
        answers = (*self.behaviour.answers, answer)
        self.behaviour = self.behaviour.model_copy(update={"answers": answers})

    def add_fault(self, fault: Fault) -> None:
        """Add a fault behind those that there are, which keep what is left of them."""
        faults = (*self.behaviour.faults, fault)
        self.behaviour = self.behaviour.model_copy(update={"faults": faults})
        self._left.append(fault.next)

    def answer(self, prompt: str) -> str | None:
        """Return what the behaviour says to *prompt*; None: nothing of its own."""
        found = (answer.text for answer in self.behaviour.answers if answer.is_for(prompt))
        return next(found, None)

    def delay_seconds(self, call: Call) -> float:
        """Return how long the answer to *call* takes."""
        behaviour = self.behaviour
        if not behaviour.jitter_seconds:
            return behaviour.latency_seconds
        return behaviour.latency_seconds + behaviour.jitter_seconds * self._draw(call, "jitter")

    def strike(self, call: Call) -> Fault | None:
        """Return what goes wrong with *call*, and use it up."""
        for place, fault in enumerate(self.behaviour.faults):
            if self._strikes(place, fault, call):
                self._use(place)
                return fault
        return None

    def _strikes(self, place: int, fault: Fault, call: Call) -> bool:
        if self._left[place] == 0 or fault.containing not in call.prompt:
            return False
        return fault.rate == 1 or self._draw(call, f"fault {place}") < fault.rate

    def _use(self, place: int) -> None:
        left = self._left[place]
        self._left[place] = None if left is None else left - 1

    def _draw(self, call: Call, purpose: str) -> float:
        """Return a number from 0 to 1 that only depends on seed, call and purpose."""
        ticket = f"{self.behaviour.seed}/{purpose}/{call.repetition}/{call.key}"
        return int.from_bytes(hashlib.sha256(ticket.encode()).digest()[:8]) / 2**64
