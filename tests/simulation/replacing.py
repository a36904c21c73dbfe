"""
Logs that are replaced or cut underneath the workers, in a share of the histories.

A topic is deleted and created again, or loses its last records: then every position in it is of
another log, and the promise is that a worker says so and ends, soon, while it runs and when it
loads. When an operator has accepted the new log, runs that are started from then on complete.

Or retention removes records: then what was not done is lost, and the promise is that it is said of
each of them, and that everything else goes on. What was removed before the group had any state is
no loss, and nobody says that it is.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from faust.types import TP
from pydantic_core import from_json

from fleet.engine.loading.log_check import LogGone, LogReplaced, LogShrunk, StateLost
from fleet.engine.offsets import Lost
from fleet.records import state
from fleet.records.events import type_name
from simulation.caller import CallerProcess
from simulation.flow import Order
from simulation.plan import HEALED, Plan
from simulation.producers import Record
from simulation.worker import TOPICS, Disk, Worker
from simulation.world import BEGINNING

if TYPE_CHECKING:
    from simulation.history import History

#: Share of the seeds in which it happens.
SHARE = 0.15
#: Share of the seeds in which logs begin later than at 0 before there is a group.
BEGUN_LATER_SHARE = 0.05
#: How long a topic is not read of which records are removed then, in seconds.
LAG_SECONDS = 7.0
#: How old records are at least that retention removes after they were done, in seconds.
AGE_SECONDS = 14.0
#: From when on running workers may hear nothing of logs, in seconds: before the first one looks.
UNHEARD_SECONDS = 4.5
#: Within how many seconds a worker has to say so: it may be dead, frozen or cut off for a while.
NOTICED_SECONDS = 90.0
_REFUSALS = (LogGone, LogReplaced, LogShrunk, StateLost)


@dataclass(frozen=True)
class Damage:
    """What happens to which log."""

    at: float
    #: `anew`, `truncated`, `cut`, `lag` (a cut of what was not read) or `old` (of what was).
    kind: str
    topic: int
    #: Of a cut: which part of the records goes.
    share: float
    #: Others append so much that the log is as long as it was; before a cut all workers are killed.
    grows: bool
    #: A worker that has ended is replaced after so long, in seconds.
    seconds: float

    @property
    def unheard(self) -> bool:
        """Whether no worker hears where logs begin before what is old is removed."""
        return self.kind == "old" and self.topic % 2 == 1


def damage(seed: int) -> Damage | None:
    """Return what happens to the logs of a history, if something does."""
    random = Random(f"replaced {seed}")
    if random.random() > SHARE:
        return None
    return Damage(
        at=random.uniform(5, 14),
        kind=random.choice(("anew", "anew", "truncated", "cut", "lag", "lag", "old")),
        topic=random.randrange(100),
        share=random.choice((1.0, 1.0, random.random())),
        grows=random.random() < 0.7,
        seconds=random.uniform(0, 3),
    )


def undisturbed(made: Plan) -> Plan:
    """Return a plan without faults where everything old is to be read before it is removed."""
    planned = damage(made.seed)
    return replace(made, faults=()) if planned and planned.kind == "old" else made


class Replacing:
    """The damage of one history, and who has said what of it."""

    def __init__(self, history: "History") -> None:
        self._history = history
        made = history.plan
        # Histories of crowds, mixed versions and poison have enough to do.
        busy = made.crowd or made.mix or made.crash_limit or any(run.raises for run in made.runs)
        self._damage = None if busy else damage(made.seed)
        #: A log is another one now: of the rest of the history only this is judged.
        self.happened = False
        #: The id of the log that is accepted.
        self.accepted = ""
        #: What retention has removed, and what workers have said that they have lost.
        self._removed: list[Record] = []
        self._told: set[tuple[TP, int]] = set()
        #: What was removed before the group had a position in its topic: it has lost nothing.
        self._unknown: set[tuple[TP, int]] = set()
        #: All workers were killed then, so it is to be said before anything goes on.
        self._is_loaded_after = False
        #: What was read and done long before it was removed.
        self._old: set[tuple[TP, int]] = set()
        #: Where logs began before there was a group.
        self._first: dict[TP, int] = {}
        self._refusals = 0
        self._topic = ""
        self._after: CallerProcess | None = None

    @property
    def damaged(self) -> bool:
        """Whether a log is another one, or lost something that was not done."""
        return self.happened or bool(self.excused())

    def prepare(self) -> None:
        """Let it happen when it is planned."""
        random = Random(f"begun later {self._history.plan.seed}")
        if random.random() < BEGUN_LATER_SHARE:
            self._begin_later(random)
        if self._damage is not None:
            does_it = {
                "anew": self._replace,
                "truncated": self._truncate,
                "cut": self._cut,
                "lag": self._lag,
                "old": self._age,
            }[self._damage.kind]
            self._history.world.after(self._damage.at, partial(does_it, self._damage))
            if self._damage.unheard:
                self._history.world.after(UNHEARD_SECONDS, self._leave_unheard)

    # -- what happens -----------------------------------------------------------------------------

    def _begin_later(self, random: Random) -> None:
        """Let retention have removed what was in some topics before there is a group."""
        for topic in self._inputs():
            for partition in range(self._history.plan.partitions):
                tp, count = TP(topic, partition), random.choice((0, 3))
                self._history.broker.produce(tp, [(b"old", b"{}", [])] * count)
                self._history.broker.at(tp).cut(count)
                self._first[tp] = count

    def _replace(self, damage: Damage) -> None:
        topics = [*self._inputs(), *[TOPICS.state] * 4]
        topic = topics[damage.topic % len(topics)]
        if not (self._has_offsets() if topic == TOPICS.state else self._known(topic)):
            return
        history = self._history
        history.world.note("kafka", f"deletes {topic}, and somebody creates it again")
        logs = {tp: log for tp, log in history.broker.partitions.items() if tp.topic == topic}
        history.broker.replace(topic)
        for tp, log in sorted(logs.items()) if damage.grows else ():
            self._fill(tp, log.records()[-1:], len(log.entries) + 1)
        for tp in [tp for tp in history.group.offsets if tp.topic == topic]:
            del history.group.offsets[tp]
        self._begin(topic)

    def _truncate(self, damage: Damage) -> None:
        """Lose the last records, all workers being dead; and then it may grow again."""
        known = [tp for topic in self._inputs() for tp in self._known(topic)]
        if not known:
            return
        history, tp = self._history, known[damage.topic % len(known)]
        for worker in history.alive():
            self._kill(worker, damage.seconds)
        log, last = history.broker.at(tp), self._last_offset(tp)
        lost = len(log.entries) - last
        history.world.note("kafka", f"loses {lost} records of {tp}")
        records = log.records()[-1:]
        log.truncate(last)
        if damage.grows:
            self._fill(tp, records, lost + 1)
        self._begin(tp.topic)

    def _fill(self, tp: TP, records: list[Record], times: int) -> None:
        contents = [(each.key, each.value, each.headers) for each in records]
        self._history.broker.produce(tp, contents * times)

    def _begin(self, topic: str) -> None:
        self._topic, self.happened = topic, True
        self._history.checks.over = True
        self._history.world.after(NOTICED_SECONDS, self._check_noticed)

    def _lag(self, damage: Damage) -> None:
        """Let nobody read some topic for a while, and remove of it what was not read."""
        topics = [topic for topic in self._inputs() if topic != TOPICS.runs]
        self._topic = topics[damage.topic % len(topics)]
        for worker in self._history.alive():
            worker.connection.lags_until[self._topic] = self._history.world.now + LAG_SECONDS
        self._cut(damage)

    def _age(self, damage: Damage) -> None:
        """Remove what was read and done long ago, and let workers load then."""
        partitions, ends = self._history.broker.partitions, self._ends()

        def cut() -> None:
            # What is to be judged by the next worker need not be old.
            chosen = self._ends() if damage.unheard else ends
            for tp, end in sorted(chosen.items()):
                settled = map(self._history.checks.is_settled, partitions[tp].records())
                # What nobody has read may be settled, as its run has ended.
                if all(settled) and self._read_up_to(tp) >= end:
                    gone = partitions[tp].cut(end)
                    self._old.update((tp, each.offset) for each in gone)
            for worker in self._history.alive():
                self._kill(worker, 0.0)

        self._history.world.after(AGE_SECONDS, cut)

    def _ends(self) -> dict[TP, int]:
        """Return where logs end of which retention may remove what is old."""
        # Not of `runs`: callers are told of ends that are gone.
        topics = {topic for topic in self._inputs() if topic != TOPICS.runs}
        partitions = self._history.broker.partitions
        return {tp: log.end for tp, log in partitions.items() if tp.topic in topics}

    def _leave_unheard(self) -> None:
        """Let no worker hear where logs begin until what is old is removed.

        So what its readers passed over is judged by a worker that has not read it.
        """
        for worker in self._history.alive():
            worker.connection.unheard_until["ids"] = BEGINNING + HEALED

    def _cut(self, damage: Damage) -> None:
        """Remove records as soon as there are some that are not done."""
        history, tps = self._history, self._undone()
        if self._topic:
            tps = [tp for tp in tps if tp.topic == self._topic]
        if not tps:
            if history.world.now < BEGINNING + HEALED:
                history.world.after(0.1, partial(self._cut, damage))
            return
        if damage.grows and damage.kind == "cut":
            for worker in history.alive():
                self._kill(worker, damage.seconds)
        tp = tps[damage.topic % len(tps)]
        log = history.broker.at(tp)
        self._is_loaded_after = not history.alive()
        begin = log.begin + math.ceil(damage.share * (log.end - log.begin))
        history.world.note("kafka", f"removes what is below {begin} of {tp}")
        gone = log.cut(begin)
        self._removed += gone
        if state.position_key(tp.topic) not in history.checks.state[tp.partition]:
            self._unknown.update((tp, each.offset) for each in gone)

    def _undone(self) -> list[TP]:
        """Return the partitions that have records which are not done."""
        topics = {topic for topic in self._inputs() if topic != TOPICS.runs}
        return [
            tp
            for tp in sorted(self._history.broker.partitions)
            if tp.topic in topics
            and not all(map(self._history.checks.is_settled, self._history.broker.at(tp).records()))
        ]

    # -- what workers say -------------------------------------------------------------------------

    def refused(self, worker: Worker, failure: BaseException) -> None:
        """Hear that a worker cannot go on."""
        world = self._history.world
        if not self.happened or self.accepted or not isinstance(failure, _REFUSALS):
            world.violate(f"{worker.name} gives up: {failure!r}")
        elif not worker.ended:
            world.note(worker.name, f"refuses: {type(failure).__name__}")
            self._refusals += 1
            self._kill(worker, 1.0)

    def lost(self, topic: str, partition: int, lost: Lost) -> None:
        """Hear what a worker says that is lost."""
        tp, world = TP(topic, partition), self._history.world
        offsets = [*lost.pending, *(each for span in lost.unread for each in range(*span))]
        world.note("worker", f"has lost {offsets} of {tp}")
        if any(offset < self._first.get(tp, 0) for offset in offsets):
            world.violate(f"{offsets} of {tp} are said to be lost, and were gone before the group")
        self._told.update((tp, offset) for offset in offsets)
        # Offsets of markers and of aborted records may be told as well: nobody can tell them apart.
        worked = self._worked(tp)
        if any((tp, offset) in self._old or offset in worked for offset in offsets):
            world.violate(f"{offsets} of {tp} were done, and are said to be lost")

    def _worked(self, tp: TP) -> set[int]:
        """Return what is gone of a partition and was worked on before."""
        firsts: dict[bytes | None, Record] = {}
        # What a later copy was worked for, which the log still has.
        copied = {_event_id(record) for record in self._history.broker.at(tp).records()}
        for record in self._removed:
            if TP(record.topic, record.partition) == tp and _event_id(record) not in copied:
                # A copy has the same id, and may never have been read.
                firsts.setdefault(_event_id(record), record)
        is_worked = self._history.checks.is_worked
        return {record.offset for record in firsts.values() if is_worked(record)}

    def goes_on(self, partition: int) -> None:
        """Hear that a step begins: what is gone of the partition was said when it was loaded."""
        removed = [each for each in self._removed if each.partition == partition]
        if self._is_loaded_after and (unsaid := self._unsaid(removed)):
            self._history.world.violate(f"a worker goes on, and {unsaid[0]}")

    def excused(self) -> set[str]:
        """Return the runs of which something was lost.

        Who sent a start that is gone is not answered, also if another start began the run.
        """
        settled, starts = self._history.checks.is_settled, TOPICS.event(type_name(Order))
        lost = [each for each in self._removed if each.topic == starts or not settled(each)]
        return {(record.key or b"").decode() for record in lost}

    def unsaid(self) -> list[str]:
        """Return what was removed before it was done and that nobody has said to be lost."""
        return self._unsaid(self._removed)

    def _unsaid(self, removed: list[Record]) -> list[str]:
        return [
            f"{record.topic} {record.partition} {record.offset} is lost without a word"
            for record in removed
            if (TP(record.topic, record.partition), record.offset) not in self._told | self._unknown
            and not self._history.checks.is_settled(record)
        ]

    # -- after it was noticed ---------------------------------------------------------------------

    def is_over(self) -> bool:
        """Whether workers have refused, and one that was told to go on has."""
        if self._after is None:
            # One that ran or loaded when it happened, and its successor.
            if self._refusals > 1:
                self._accept()
            return False
        calls = self._after.calls
        return bool(calls) and calls[0].handler.is_done()

    def unfinished(self) -> list[str]:
        """Return what is missing."""
        return [f"{self._topic}: {self._refusals} refusals, accepted {self.accepted or 'nothing'}"]

    def _check_noticed(self) -> None:
        if not self._refusals:
            self._history.world.violate(f"nobody has noticed what happened to {self._topic}")

    def _accept(self) -> None:
        history = self._history
        self.accepted = history.broker.log_id(self._topic)
        history.world.note("operator", f"accepts {self.accepted}")
        for worker in history.alive():
            worker.kill()
        for _ in range(history.plan.workers):
            history.start(Disk())
        self._after = CallerProcess("after", history.world, history.broker, history.plan.partitions)
        self._after.run("after", Order(parts=1), None)

    # -- what is there ----------------------------------------------------------------------------

    def _inputs(self) -> list[str]:
        return sorted(self._history.workers[0].host.engines.topics)

    def _known(self, topic: str) -> list[TP]:
        """Return the partitions of *topic* of which the state knows a record that was read."""
        tps = [TP(topic, each) for each in range(self._history.plan.partitions)]
        return [tp for tp in tps if self._last_offset(tp) >= 0]

    def _last_offset(self, tp: TP) -> int:
        _, _, *log = self._position(tp)
        return int(log[1]) if log else -1

    def _read_up_to(self, tp: TP) -> int:
        following, pending, *_ = self._position(tp)
        return int(min(pending, default=following))

    def _position(self, tp: TP) -> Any:
        position = self._history.checks.state[tp.partition].get(state.position_key(tp.topic))
        return from_json(position) if position else (0, ())

    def _has_offsets(self) -> bool:
        return any(self._history.group.offsets.values())

    def _kill(self, worker: Worker, seconds: float) -> None:
        worker.kill()

        def start() -> None:
            used = any(each.disk is worker.disk for each in self._history.alive())
            if not self.accepted and not used:
                self._history.start(worker.disk)

        self._history.world.after(seconds, start)


def _event_id(record: Record) -> bytes | None:
    return dict(record.headers).get("fleet-event-id")
