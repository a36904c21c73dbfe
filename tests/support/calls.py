"""What the scripted model was asked for: by which process, for which run and step, and when."""

import asyncio
from dataclasses import dataclass

from fleet.dev.llm import ScriptedProcess

#: A run's id and a step's name.
Work = tuple[str, str]


@dataclass(slots=True)
class Call:
    """One call. Times are unix seconds, of processes on one machine."""

    work: Work
    #: Which process asked.
    user: str
    #: What the prompt has besides run, step and time.
    detail: str
    #: When the attempt of the step began, by the clock of its process.
    began: float
    #: When the call reached the model, by the model's clock.
    started: float
    #: None while there is no answer.
    answered: float | None = None


class Calls:
    """The journal of a scripted model, read again and again."""

    def __init__(self, llm: ScriptedProcess) -> None:
        self._llm = llm
        self._next = 0
        self._by_number: dict[int, Call] = {}

    async def refresh(self) -> None:
        """Read what is new."""
        report = await asyncio.to_thread(self._llm.journal, self._next)
        self._next = report["next"]
        for entry in report["entries"]:
            if entry["what"] == "answered":
                self._by_number[entry["call"]].answered = entry["at"]
            else:
                step, run_id, began, detail = entry["prompt"].split(" ", 3)
                call = Call((run_id, step), entry["user"], detail, float(began), entry["at"])
                self._by_number[entry["call"]] = call

    @property
    def all(self) -> list[Call]:
        """Every call so far, in the order in which they arrived."""
        return list(self._by_number.values())

    def open_by(self, user: str) -> list[Call]:
        """Return the calls of *user* that have no answer."""
        return [each for each in self.all if each.user == user and each.answered is None]

    def made_by(self, user: str) -> int:
        """Return how many calls *user* has made."""
        return sum(each.user == user for each in self.all)
