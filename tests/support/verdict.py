"""
What came of the runs of one cell, from what anybody can see: topics and the model's journal.

Pure, and it knows nothing of the engine. All times are unix seconds: those of records are the
broker's append times, those of calls the scripted model's, both of one machine.

What the numbers mean:

- **In flight at a fault**: steps (run and step name) that a victim had begun by then, for which the
  model was asked sooner or later, and whose record in `history` no transaction had committed by
  then. A record that is visible to `read_committed` and was appended before the fault counts as
  committed by then.
- **Lost**: a submitted run without a terminal record.
- **Wrong result**: not the completion that the committed steps give: the draft that was judged, the
  mark in the context and the marks in the prompts of `judge` are those of the one committed
  draft, topic and answer are the run's own, and the caller got just what `runs` says.
- **Duplicate**: every record of a run beyond the ones that there have to be, as `read_committed`
  shows them: one start event, one draft, `started`, one record in `history` for each step. Any
  dead letter, and any record of a run that nobody submitted, is one, too.
- **Ends other than one**: runs with no terminal record or several. The first would be the effective
  one; nothing in this workflow may lead to another.
- **Committed step run again**: an attempt of a step began, by the clock of its process, after the
  step's `history` record was appended. A call that a frozen worker had begun to make and that
  leaves it when it wakes is none of these: no engine can call it back. It is paid twice.
- **In flight at joins**: the same for all others at the first call of a worker that came later, and
  when a frozen one was back in the group. Partitions move to it, and what does not end within the
  engine's two seconds is begun again there.
- **Paid twice**: calls beyond one for each step. **Not in flight**: of those, the ones for a step
  that was in flight neither at a fault nor at a join, or was so less often than it was paid again.
- **Work went on** after: the time from a fault until somebody else asked the model for a step in
  the partitions where a victim had steps in flight, the last of them counted. The model's own time
  is not in it. None where the victim lives on and ends its steps itself.
- **Pause**: the longest time after a fault, and before the next, without a commit in a partition
  that had an unfinished run; so it has the latency of the model in it. **Standstill**: the same for
  the workflow as a whole.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from calls import Call, Work

STEPS = ("tell", "judge")
TERMINAL = ("completed", "failed", "cancelled", "timed_out")
#: How many of a kind are put into words.
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Record:
    """A committed record of one topic."""

    run_id: str
    type: str
    partition: int
    #: Append time.
    at: float
    value: Mapping[str, Any]


@dataclass(slots=True)
class Injected:
    """A fault, or a rebalance that followed. Times are unix seconds."""

    at: float
    #: Names of the processes whose work it stops.
    victims: tuple[str, ...]
    #: Whether the victims go on working without a break.
    gentle: bool = True


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that can be seen of one cell from outside."""

    #: The topic of each run that was submitted, by its id.
    submitted: Mapping[str, str]
    #: What the caller got: the result's fields, or what went wrong in words.
    got: Mapping[str, Mapping[str, Any] | str]
    starts: list[Record]
    drafts: list[Record]
    runs: list[Record]
    history: list[Record]
    dead: list[Record]
    calls: list[Call]
    faults: list[Injected]
    #: When a frozen worker was back in the group; the victims are the others.
    returns: list[Injected]


@dataclass(slots=True)
class Verdict:
    """The numbers of one cell; the module's docstring tells what each means."""

    runs: int
    #: For each fault.
    in_flight: list[int]
    in_flight_at_joins: int
    lost: int
    wrong: int
    duplicates: int
    ends_other_than_one: int
    run_again: int
    paid_twice: int
    paid_twice_not_in_flight: int
    #: For each fault.
    went_on_seconds: list[float | None]
    pause_seconds: list[float]
    standstill_seconds: list[float]
    #: What went wrong, in words; a few of each kind.
    examples: list[str] = field(default_factory=list)


def judge(evidence: Evidence) -> Verdict:
    """Count what went wrong."""
    flights = [in_flight(fault, evidence) for fault in evidence.faults]
    joins = [in_flight(join, evidence) for join in _joins(evidence)]
    found = {
        "lost": list(_lost(evidence)),
        "wrong": list(_wrong(evidence)),
        "duplicates": list(_duplicates(evidence)),
        "ends_other_than_one": list(_ends_other_than_one(evidence)),
        "run_again": list(_run_again(evidence)),
        "paid_twice": [f"{work} was asked again" for work in _repeats(evidence.calls).elements()],
        "paid_twice_not_in_flight": list(_not_in_flight(evidence.calls, flights + joins)),
    }
    return Verdict(
        runs=len(evidence.submitted),
        in_flight=[len(each) for each in flights],
        in_flight_at_joins=sum(len(each) for each in joins),
        went_on_seconds=[
            _went_on(fault, flight, evidence)
            for fault, flight in zip(evidence.faults, flights, strict=True)
        ],
        pause_seconds=[pause for pause, _ in _pauses(evidence)],
        standstill_seconds=[standstill for _, standstill in _pauses(evidence)],
        examples=[
            f"{kind}: {each}"
            for kind, several in found.items()
            if kind != "paid_twice"
            for each in several[:EXAMPLES]
        ],
        **{kind: len(several) for kind, several in found.items()},
    )


# -- what was paid ------------------------------------------------------------------------------


def in_flight(fault: Injected, evidence: Evidence) -> set[Work]:
    """Return the steps that the victims had begun and nobody had committed."""
    committed = _committed_at(evidence)
    return {
        call.work
        for call in evidence.calls
        if call.user in fault.victims
        and call.began <= fault.at
        and committed.get(call.work, math.inf) > fault.at
    }


def _joins(evidence: Evidence) -> Iterator[Injected]:
    """Yield when somebody came who was not there at the beginning, or came back."""
    yield from evidence.returns
    first: dict[str, float] = {}
    for call in evidence.calls:
        first.setdefault(call.user, call.started)
    for name, at in first.items():
        if evidence.faults and at > evidence.faults[0].at:
            yield Injected(at, tuple(first.keys() - {name}))


def _committed_at(evidence: Evidence) -> dict[Work, float]:
    """Return when each step was committed first."""
    return {_work(each): each.at for each in reversed(evidence.history)}


def _work(record: Record) -> Work:
    return record.run_id, str(record.value["step"])


def _run_again(evidence: Evidence) -> Iterator[str]:
    committed = _committed_at(evidence)
    for call in evidence.calls:
        late = call.began - committed.get(call.work, math.inf)
        if late > 0:
            yield f"{call.user} began {call.work} {late:.3f} s after its commit"


def _repeats(calls: Sequence[Call]) -> Counter[Work]:
    """Return how often each step was asked beyond once."""
    asked = Counter(call.work for call in calls)
    return asked - Counter(dict.fromkeys(asked, 1))


def _not_in_flight(calls: Sequence[Call], flights: Sequence[set[Work]]) -> Iterator[str]:
    excused = Counter(work for flight in flights for work in flight)
    for work in (_repeats(calls) - excused).elements():
        asked = [f"{each.user} at {each.started:.3f}" for each in calls if each.work == work]
        yield f"{work} was asked by {', '.join(asked)}"


# -- what came of the runs ----------------------------------------------------------------------


def _ends(evidence: Evidence) -> dict[str, list[Record]]:
    ends = defaultdict(list)
    for each in evidence.runs:
        if each.type in TERMINAL:
            ends[each.run_id].append(each)
    return ends


def _lost(evidence: Evidence) -> Iterator[str]:
    ends = _ends(evidence)
    yield from (f"{run_id} has no end" for run_id in evidence.submitted if run_id not in ends)


def _ends_other_than_one(evidence: Evidence) -> Iterator[str]:
    ends = _ends(evidence)
    for run_id in evidence.submitted:
        if len(ends[run_id]) != 1:
            yield f"{run_id} ended as {[each.type for each in ends[run_id]]}"


def _wrong(evidence: Evidence) -> Iterator[str]:
    marks = {each.run_id: each.value["mark"] for each in evidence.drafts}
    asked = defaultdict(set)
    for call in evidence.calls:
        if call.work[1] == "judge":
            asked[call.work[0]].add(call.detail)
    for run_id, [end, *_] in _ends(evidence).items():
        if problem := _problem(run_id, end, marks.get(run_id), asked[run_id], evidence):
            yield f"{run_id}: {problem}"


def _problem(
    run_id: str, end: Record, mark: str | None, asked: set[str], evidence: Evidence
) -> str | None:
    if end.type != "completed":
        return f"ended as {end.type}: {end.value}"
    result = json.loads(end.value["event"])
    if evidence.got.get(run_id) != result:
        return f"the caller got {evidence.got.get(run_id)} and not {result}"
    if not {mark} == {result["told"]} == {result["remembered"]} == asked:
        return f"the draft {mark} and {result}, asked with {asked}"
    said = f"judge {run_id} " in result["text"] and result["text"].endswith(f" {mark}")
    if result["topic"] != evidence.submitted.get(run_id) or not said:
        return f"not of this run: {result}"
    return None


def _duplicates(evidence: Evidence) -> Iterator[str]:
    there = [("start event", each.run_id) for each in evidence.starts]
    there += [("draft", each.run_id) for each in evidence.drafts]
    there += [(each.type, each.run_id) for each in evidence.runs if each.type not in TERMINAL]
    there += [(f"history of {each.value['step']}", each.run_id) for each in evidence.history]
    once = Counter(
        (kind, run_id)
        for kind in ("start event", "draft", "started", *(f"history of {step}" for step in STEPS))
        for run_id in evidence.submitted
    )
    surplus = Counter(there) - once
    yield from (f"{kind} of {run_id} once too often" for kind, run_id in surplus.elements())
    yield from (f"dead letter of {each.run_id}" for each in evidence.dead)


# -- how long nothing went on -------------------------------------------------------------------


def _went_on(fault: Injected, flight: set[Work], evidence: Evidence) -> float | None:
    if fault.gentle:
        return None
    home = {each.run_id: each.partition for each in evidence.starts}
    affected = {home[run_id] for run_id, _ in flight}
    first: dict[int, float] = {}
    for call in evidence.calls:
        partition = home[call.work[0]]
        if call.started > fault.at and call.user not in fault.victims and partition in affected:
            first.setdefault(partition, call.started - fault.at)
    return max(first.values(), default=None)


#: Commits and unfinished runs (from, until) of a partition, or of all.
Life = tuple[list[float], list[tuple[float, float]]]


def _pauses(evidence: Evidence) -> list[tuple[float, float]]:
    """Return the longest pause of a partition and of the workflow after each fault."""
    partitions = {each.partition for each in evidence.starts}
    lives = [_life(evidence, {partition}) for partition in partitions]
    everything = _life(evidence, partitions)
    return [
        (max(_pause(life, *window) for life in lives), _pause(everything, *window))
        for window in _windows(evidence)
    ]


def _windows(evidence: Evidence) -> list[tuple[float, float]]:
    """Return for each fault when it was and when the next one was, or the end of all."""
    begins = [each.at for each in evidence.faults]
    end = max([each.at for each in evidence.runs], default=math.inf)
    return list(pairwise([*begins, max([end, *begins])]))


def _life(evidence: Evidence, partitions: set[int]) -> Life:
    commits = sorted(each.at for each in evidence.history if each.partition in partitions)
    ended = {run_id: end.at for run_id, [end, *_] in _ends(evidence).items()}
    unfinished = [
        (each.at, ended.get(each.run_id, math.inf))
        for each in evidence.starts
        if each.partition in partitions
    ]
    return commits, sorted(unfinished)


def _pause(life: Life, begin: float, end: float) -> float:
    """Return the longest time between *begin* and *end* without a commit, though there was work."""
    commits, unfinished = life
    marks = [begin, *(each for each in commits if begin < each < end), end]
    return max(_waited(unfinished, *between) for between in pairwise(marks))


def _waited(unfinished: list[tuple[float, float]], begin: float, end: float) -> float:
    """Return how much of the time from *begin* to *end*, without a commit, a run was waiting."""
    waiting = [max(start, begin) for start, until in unfinished if start < end and until >= end]
    return end - min(waiting, default=end)
