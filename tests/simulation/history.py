"""One history, from its seed to a verdict."""

import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from unittest.mock import patch

from faust.types import TP

from fleet.client.streams import beginning, event_stream, reader
from fleet.engine import intake
from fleet.engine.admission import budget
from fleet.host import lost_tasks
from fleet.kafka import loading
from fleet.records.events import type_name
from fleet.records.partitions import partition_of
from fleet.workflow.errors import RunUnheard
from simulation import (
    call_checks,
    calls_plan,
    clock_checks,
    clocks,
    elsewhere,
    outsider,
    plan,
    reading,
    wire,
)
from simulation import waited as waits_plan
from simulation.astray import astray
from simulation.branched import branched
from simulation.broker import Broker
from simulation.caller import CallerProcess
from simulation.caught import caught
from simulation.caught_checks import CaughtChecks
from simulation.checks import Checks
from simulation.context_checks import ContextChecks
from simulation.deploys import Deployment, Mix, Version
from simulation.edited import edited
from simulation.flow import Laboratory, Order, Part
from simulation.group import Group
from simulation.grown import FLOWS
from simulation.nested import nested
from simulation.nested_checks import NestedChecks
from simulation.paying import asks as refuses
from simulation.paying import paying
from simulation.payments import Payments
from simulation.plan import Fault, Plan
from simulation.poisoned import MESSAGE_TOO_LARGE, Poisons, poisoned
from simulation.producers import Content
from simulation.queued import Places, check_strays, queued
from simulation.rare import rare
from simulation.renamed import renaming
from simulation.replacing import Replacing, damage, undisturbed
from simulation.themes import themed
from simulation.timed import timed
from simulation.timing_checks import TimingChecks
from simulation.wait_checks import WaitChecks
from simulation.waited import waited
from simulation.worker import TOPICS, Disk, Worker
from simulation.world import BEGINNING, World

#: When all runs must have ended, and how soon all state must be gone after it may be, in seconds.
ENDED_BY = 220.0
EMPTY_WITHIN = 90.0
CALLERS = 2
#: With as many slots no step waits for one, but in a crowd.
FREE_SLOTS = 20
#: How long a deployment takes until its workers work, in seconds.
DEPLOYED_SECONDS = 5.0
#: How many of the things that are left over a violation names.
MOST_TOLD = 20
#: Records of a batch that is read or written where thousands wait; else there are few in one.
CROWD_BATCH = 200
#: What a worker may hold of delivered events, and each of its tasks in any case, in bytes.
WINDOW_BYTES, WINDOW_SHARE_BYTES = 1024 * 1024, 64 * 1024
#: What each task of a worker may have finished and not committed in any case.
UNCOMMITTED_SHARE = 10


@dataclass
class Verdict:
    """What became of a history."""

    plan: Plan
    violations: list[str]
    trace: list[tuple[float, str, str]] = field(repr=False)
    turns: int = 0
    attempts: int = 0

    def __str__(self) -> str:
        lines = [f"{at:10.4f} {who:10} {what}" for at, who, what in self.trace]
        return "\n".join(
            [str(self.plan), *lines, *(f"VIOLATED: {each}" for each in self.violations)]
        )


class History:
    """The processes of one history."""

    def __init__(self, made: Plan) -> None:
        self.plan = made
        self.world = World(made.seed)
        self.broker = Broker(self.world)
        self.broker.refusal = made.refusal
        self.broker.clock = lambda node: made.clocks.node(node).at(self.world.now)
        raises = {run.run_id: run.raises for run in made.runs if run.raises}
        self.laboratory = Laboratory(
            self.world, made.longest, poisons=Poisons(raises, on_kill=self._crash)
        )
        self.broker.refuses = self._refuses
        self.laboratory.tokens = made.calling.tokens
        self.laboratory.places = Places(self.world, made.concurrent_runs)
        self.laboratory.strays = made.strays
        self.laboratory.unreadable = made.calling.unreadable
        flow = FLOWS["grown" if made.kind == "plain" else made.kind]
        self.checks = Checks(self.world, self.broker, self.laboratory, made.partitions, flow)
        self.checks.owned_since = self._owned_since
        self._elsewhere = elsewhere.Elsewhere(self.world, self.checks)
        if made.kind == "edited":
            attempts, kept = self.laboratory.attempts, self.checks.state
            edits = ContextChecks(self.world, self.broker, attempts, kept)
            # A block that began in time may end when its partition has gone elsewhere.
            edits.owned_since = lambda name, partition: self._worker(name).owned_since(partition)
            self.broker.on_commit.append(edits.on_commit)
            self.laboratory.on_edit = edits.on_edit
            self._edits = edits
        if made.kind == "timed":
            resumed = frozenset(run.run_id for run in made.runs if run.resumed_at)
            timing = TimingChecks(self.world, self.broker, made.partitions, resumed)
            timing.exact = not made.clocks.nodes
            # What is due waits for slots.
            timing.calm = made.is_calm and timing.exact and made.slots >= FREE_SLOTS
            timing.owned_since = self._owned_since
            self.broker.on_commit.append(timing.on_commit)
            self.laboratory.on_try = timing.on_try
        if made.kind == "paying":
            payments = Payments(self.world, self.checks.state, asks=refuses(made.seed))
            payments.owned_since = lambda name, partition: self._worker(name).owned_since(partition)
            self.broker.on_commit.append(payments.on_commit)
            self.laboratory.payments = payments
        if made.kind == "caught":
            self._caught = CaughtChecks(self.world, {run.run_id for run in made.runs if run.raises})
            self.broker.on_commit.append(self._caught.on_commit)
        self._check_runs_and_waits()
        if made.crowd is not None:
            self.checks.most_uncommitted = made.crowd.uncommitted + UNCOMMITTED_SHARE + made.slots
        self.group = Group(self.world, made.partitions, self.checks.offset)
        self.workers: list[Worker] = []
        self.callers: list[CallerProcess] = []
        self._disks: list[Disk] = []
        self._number = 0
        #: How often each step has ended a worker whose death was not known from the state.
        self._unseen: Counter[str] = Counter()
        self._replacing = Replacing(self)
        #: Of workers that are started now; None where all are of one version.
        self._version = made.mix.first if made.mix is not None else None

    def _check_runs_and_waits(self) -> None:
        self._nested = NestedChecks(self.world, self.checks, self.plan.partitions)
        self._nested.owned_since = self._owned_since
        if self.plan.kind == "nested":
            self.broker.on_commit.append(self._nested.on_commit)
            self.laboratory.on_heard = self._nested.on_heard
        if self.plan.kind == "waited":
            waits = WaitChecks(self.world, self.broker, self.plan.partitions)
            waits.exact = not self.plan.clocks.nodes
            waits.owned_since = lambda name, partition: self._worker(name).owned_since(partition)
            self.broker.on_commit.append(waits.on_commit)
            self.laboratory.on_heard = waits.on_heard

    def run(self) -> Verdict:
        """Let it happen."""
        try:
            self._prepare()
            if self._happens(self._has_ended, ENDED_BY):
                self._check_the_end()
                self._remove_types()
                kept = 1.5 * self.plan.dedupe_seconds
                by = self.world.now - BEGINNING + kept + EMPTY_WITHIN
                # A clock that was set back keeps what is kept for longer.
                whole = not (self._replacing.damaged or self.plan.clocks.nodes)
                if whole and not self._happens(self.checks.state_is_empty, by):
                    self.world.violate(f"the state keeps {self.checks.left()[:MOST_TOLD]}")
                if whole:
                    self._check_indexes()
            else:
                self.world.violate(f"not all has ended: {self._unfinished()[:MOST_TOLD]}")
        finally:
            for worker in self.workers:
                worker.stop_admitting()
            self.world.bury()
        return Verdict(
            self.plan,
            self.world.violations,
            self.world.trace,
            self.world.turns,
            len(self.laboratory.attempts),
        )

    # -- what is planned --------------------------------------------------------------------------

    def _prepare(self) -> None:
        for _ in range(self.plan.workers):
            self.start(Disk())
        self.callers = [
            CallerProcess(f"caller{each}", self.world, self.broker, self.plan.partitions)
            for each in range(CALLERS)
        ]
        for run in self.plan.runs:
            self._prepare_run(run)
        for number, at in enumerate(self.plan.ghosts):
            self.world.after(at, partial(self.callers[0].advise, f"ghost{number}"))
        if self.plan.crowd is not None:
            come = partial(outsider.crowd, self.broker, self.plan.partitions, self.plan.crowd)
            self.world.after(self.plan.crowd.at, come)
        for at in self.plan.compacted_at:
            self.world.after(at, self._compact)
        self._replacing.prepare()
        for fault in self.plan.faults:
            self.world.after(fault.at, partial(self._inject, fault))
        self._prepare_wire(self.plan.wire)
        if self.plan.is_calm:
            self.broker.on_timeout = partial(
                self.world.violate, "nothing is wrong, and a worker leaves a transaction open"
            )
        if self.plan.mix is not None:
            self._prepare_deployments(self.plan.mix)
        self._prepare_calling(self.plan.calling)
        self._elsewhere.prepare(elsewhere.make(self.plan), self.callers)
        if self.plan.kind == "edited":
            self._prepare_looks(Random(f"looks {self.plan.seed}"))
        self._prepare_nods()

    def _prepare_looks(self, random: Random) -> None:
        """Let callers read contexts, while their runs go on and after that."""
        calls = [(call, run.run_id) for run in self.plan.runs for call in run.calls]
        for call, run_id in calls * 2:
            look = partial(self.callers[call.caller].look, run_id, self._edits)
            self.world.after(call.at + random.uniform(0, 12), look)

    def _prepare_nods(self) -> None:
        for nod in waits_plan.nods(self.plan) if self.plan.kind == "waited" else ():
            self.world.after(nod.at, partial(self._nod, nod))

    def _nod(self, nod: waits_plan.PlannedNod) -> None:
        if nod.caller is None:
            outsider.nod(self.broker, nod, self.plan.partitions)
        else:
            event = waits_plan.Nod(number=nod.number, token=nod.token)
            self.callers[nod.caller].send(nod.run_id, event)

    def _prepare_calling(self, calling: calls_plan.Calling) -> None:
        fails = {run.run_id: self._failing(run) for run in self.plan.runs}
        for call in calling.late:
            order = Order(parts=call.parts, fails=fails.get(call.run_id, ""))
            run = self.callers[call.caller].run
            self.world.after(call.at, partial(run, call.run_id, order, call.timeout_seconds))
        for at, number, run_id in calling.advised:
            self.world.after(at, partial(self.callers[number].advise, run_id))
        for fault in calling.faults:
            self.world.after(fault.at, partial(self.callers[fault.caller].suffer, fault))
        for at in calling.copied_at:
            copy = partial(outsider.copy_shown, self.broker, self.plan.partitions)
            self.world.after(at, copy)
        for number, caller in enumerate(self.callers):
            caller.other = self.callers[number - 1]
            caller.reads_streams = bool(calling.tokens)
            if calling.readers_die:
                caller.habits = partial(reading.habits, self.plan.seed)
            caller.connection.in_doubt = calling.in_doubt
            caller.connection.slow = partial(_slow_ends, calling.slow_ends)

    def _prepare_wire(self, faults: plan.Wire) -> None:
        for at in faults.moved_at:
            self.world.after(at, partial(self.broker.move, faults.away_seconds))
        for at in faults.expired_at:
            self.world.after(at, self.broker.expire)

    def _prepare_deployments(self, mix: Mix) -> None:
        for deployment in mix.deployments:
            self.world.after(deployment.at, partial(self._deploy, deployment))
        if mix.cancelled_at is not None:
            for run in self.plan.runs:
                # Not one that begins when its cancel may be forgotten: it would begin rightly.
                if min(call.at for call in run.calls) < mix.cancelled_at:
                    cancel = partial(self.callers[0].cancel, run.run_id)
                    self.world.after(mix.cancelled_at, cancel)
        for at, number in mix.hints:
            run = self.plan.runs[number % len(self.plan.runs)]
            # What comes long before its run is forgotten where ended runs are.
            hint = partial(outsider.hint, self.broker, run.run_id, self.plan.partitions)
            comes = max(at, run.calls[0].at - 2)
            self.world.after(comes, hint)
            if mix.seen_again:
                self.world.after(comes + 0.5, partial(self.callers[0].advise, run.run_id))

    def _prepare_run(self, run: plan.RunPlan) -> None:
        after, run_id = self.world.after, run.run_id
        for call in run.calls:
            order = Order(parts=call.parts, fails=self._failing(run))
            run_it = self.callers[call.caller].run
            after(call.at, partial(run_it, run_id, order, run.timeout_seconds))
        for at in run.cancelled_at:
            after(at, partial(self.callers[0].cancel, run_id))
        for at in run.advised_at:
            after(at, partial(self.callers[0].advise, run_id))
        for at in run.copied_at:
            after(at, partial(outsider.copy_start, self.broker, run_id, self.plan.partitions))
        for at, kind in run.poisoned_at:
            poison = partial(outsider.poison, self.broker, run_id, self.plan.partitions)
            after(at, partial(poison, kind))
        for at in run.resumed_at:
            after(at, partial(self._resume, run_id))
        if run.resumed_at:
            after(run.mended_at, partial(self.laboratory.mended.add, run_id))

    def _failing(self, run: plan.RunPlan) -> str:
        mix = self.plan.mix
        if mix is not None and not run.fails and self.plan.runs.index(run) in mix.failing:
            return "polish"
        return run.fails

    def _resume(self, run_id: str) -> None:
        self.checks.read()
        epoch = self.checks.epoch(run_id) + 1
        self.world.note("operator", f"resumes {run_id} as {epoch}")
        outsider.resume(self.broker, run_id, self.plan.partitions, epoch)

    def start(self, disk: Disk) -> None:
        """Start a worker."""
        self._number += 1
        if disk not in self._disks:
            self._disks.append(disk)
        worker = Worker(
            f"worker{self._number}",
            self.world,
            self.broker,
            self.group,
            self.laboratory,
            disk,
            partitions=self.plan.partitions,
            slots=self.plan.slots,
            drain_seconds=self.plan.drain_seconds,
            dedupe_seconds=self.plan.dedupe_seconds,
            crash_limit=self.plan.crash_limit,
            compute=self.plan.compute,
            batch_records=4 if self.plan.crowd is None else CROWD_BATCH,
            accept_logs=self._replacing.accepted,
            clock=self.plan.clocks.worker(self._number),
            window_bytes=WINDOW_BYTES,
            version=self._version,
            kind=self.plan.kind,
            concurrent_runs=self.plan.concurrent_runs,
            opening=self.plan.opening,
        )
        worker.on_refusal = self._replacing.refused
        vars(worker.metrics)["records_lost"] = self._replacing.lost
        worker.connection.breaks = self.plan.wire.breaks
        self.world.note(worker.name, f"starts {self._version or ''}")
        again = Fault(at=0.0, kind="kill", worker=0, seconds=1.0)
        worker.on_end = partial(self._replace, worker, again)
        self.workers.append(worker)

    def _deploy(self, deployment: Deployment) -> None:
        """Replace workers of other versions, one after the other."""
        self.world.note("operator", f"deploys {deployment.version}")
        self._version = deployment.version
        others = [each for each in self.alive() if each.version != deployment.version]
        for number, worker in enumerate(others[: deployment.count]):
            self.world.after(number * deployment.seconds, partial(self._replace_gently, worker))

    def _replace_gently(self, worker: Worker) -> None:
        if not worker.ended:
            self._harm(worker, Fault(at=0.0, kind="stop", worker=0))

    def _remove_types(self) -> None:
        """Go back to the version without them, where that is planned and no run needs them."""
        if self.plan.mix is not None and self.plan.mix.removed:
            self._deploy(Deployment(0.0, Version("plain"), 99, 0.0))

    def _compact(self) -> None:
        self.world.note("kafka", "compacts the changelogs")
        for partition in range(self.plan.partitions):
            tp = TP(TOPICS.state, partition)
            before = self.broker.time_of(tp) - self.plan.tombstone_seconds
            self.broker.at(tp).compact(before_ms=before * 1000)

    # -- faults -----------------------------------------------------------------------------------

    def alive(self) -> list[Worker]:
        """Return the workers that have not ended."""
        return [worker for worker in self.workers if not worker.ended]

    def _inject(self, fault: Fault) -> None:
        alive = self.alive()
        if fault.kind == "join":
            self.start(Disk())
        elif fault.kind == "rebalance":
            self.group.rebalance()
        elif fault.kind == "fence":
            self.world.note("stranger", "takes a transactional id")
            self.broker.fence(f"{TOPICS.engine_id}-{fault.count % self.plan.partitions}")
        elif alive:
            self._harm(alive[fault.worker % len(alive)], fault)

    def _harm(self, worker: Worker, fault: Fault) -> None:
        self.world.note(worker.name, fault.kind)
        match fault.kind:
            case "kill":
                self._kill(worker, fault)
            case "boundary":
                self._at_request(worker, fault, lambda: self._kill(worker, fault))
            case "pause":
                self._at_request(worker, fault, lambda: worker.freeze(fault.seconds))
            case "freeze":
                worker.freeze(fault.seconds)
            case "hang":
                worker.connection.hangs_until = self.world.now + fault.seconds
            case "lag":
                topics = sorted(worker.host.engines.topics)
                lagging = topics[fault.topic % len(topics)]
                worker.connection.lags_until[lagging] = self.world.now + 2 * fault.seconds
            case "stall":
                # Of its transactions only: its place in the group it keeps.
                worker.connection.stalls_until = self.world.now + fault.seconds
            case "shuffle":
                self._at_request(worker, fault, self.group.rebalance)
            case "stop":
                worker.stop()
                self._replace(worker, fault)

    def _kill(self, worker: Worker, fault: Fault) -> None:
        if not worker.ended:
            self.world.note(worker.name, "is killed")
            worker.kill()
            self._replace(worker, fault)

    def _crash(self, name: str, run_id: str, key: str) -> None:
        worker = self._worker(name)
        # Beside those that the limit counts, the first one, and those of which no owner learns.
        self._unseen[key] += worker.dies_unseen(partition_of(run_id, self.plan.partitions))
        kills = self.laboratory.poisons.kills[key]
        if kills > self.plan.crash_limit + 1 + self._unseen[key]:
            self.world.violate(f"a step has ended {kills} workers")
        # Another process may wait for the same folder, where this one was told to stop.
        disk = self.world.random.choice(("kept", "kept", "lost")) if not worker.stopping else "lost"
        seconds = self.world.random.uniform(0.2, 3)
        self._kill(worker, Fault(at=0, kind="kill", worker=0, seconds=seconds, disk=disk))

    def _refuses(self, tp: TP, records: list[Content]) -> int:
        """Whatever the events of some runs hold, the broker does not take them."""
        mended = self.laboratory.mended
        raises = {k: v for k, v in self.laboratory.poisons.raises.items() if k not in mended}
        refused = tp.topic == TOPICS.event(type_name(Part)) and any(
            raises.get((key or b"").decode()) == "refused" for key, _, _ in records
        )
        return MESSAGE_TOO_LARGE if refused else 0

    def _at_request(self, worker: Worker, fault: Fault, harm: Callable[[], None]) -> None:
        left = fault.count

        def look(when: str, request: str) -> None:
            nonlocal left
            if when == fault.when and request == fault.request:
                left -= 1
                if left < 0 and self.world.now < BEGINNING + plan.HEALED:
                    worker.connection.on_request = lambda _when, _name: None
                    harm()

        worker.connection.on_request = look

    def _replace(self, worker: Worker, fault: Fault) -> None:
        def start() -> None:
            if not worker.ended:
                # It is still stopping.
                self.world.after(1.0, start)
                return
            used = [each.disk for each in self.alive()]
            free = [disk for disk in self._disks if not any(disk is each for each in used)]
            others = [disk for disk in free if disk is not worker.disk]
            if fault.disk == "lost" or worker.disk not in free:
                self.start(Disk())
            elif fault.disk == "other" and others:
                self.start(others[-1])
            else:
                self.start(worker.disk)

        self.world.after(fault.seconds, start)

    # -- the end ----------------------------------------------------------------------------------

    def _happens(self, condition: Callable[[], bool], within: float) -> bool:
        """Let time pass until *condition* holds, looking once a second; tell whether it did."""
        held = False

        def look() -> None:
            nonlocal held
            self._check_bounds()
            held = condition()
            if not held:
                self.world.after(1.0, look)

        look()
        return self.world.run(lambda: held, BEGINNING + within)

    def _check_bounds(self) -> None:
        crowd = self.plan.crowd
        if crowd is None:
            return
        # Each task may take one batch more than it needed to.
        tasks = self.plan.partitions
        most = WINDOW_BYTES + tasks * (WINDOW_SHARE_BYTES + CROWD_BATCH * (crowd.size + 500))
        for worker in self.alive():
            if worker.held_bytes() > most:
                self.world.violate(f"{worker.name} holds {worker.held_bytes()} bytes of events")

    def _has_ended(self) -> bool:
        if self._replacing.happened:
            return self._replacing.is_over()
        self.checks.read()
        mix = self.plan.mix
        healed = plan.HEALED if mix is None else mix.deployments[-1].at + DEPLOYED_SECONDS
        last_call = max((call.at for call in self.plan.calling.late), default=0.0)
        over = BEGINNING + max(healed, last_call + 1)
        return self.world.now > over and not self._unfinished()

    def _unfinished(self) -> list[str]:
        if self._replacing.happened:
            return self._replacing.unfinished()
        lost = self._replacing.excused()
        runs = {run.run_id for run in self.plan.runs}
        runs |= {call.run_id for call in self.plan.calling.late}
        unended = {run_id for run_id in runs - self.checks.ends.keys() if self._may_begin(run_id)}
        found = [f"{run_id} goes on" for run_id in sorted(unended - lost)]
        found += self._replacing.unsaid()
        for caller in self.callers:
            found += [
                f"nobody told {call.run_id}"
                for call in caller.calls
                if not call.handler.is_done() and call.run_id not in lost
            ]
            found += [
                f"the stream of {call.run_id} goes on"
                for call in caller.calls
                if caller.reads_streams and not call.stream_ended and call.run_id not in lost
            ]
        found += [each for each in self._elsewhere.unanswered() if not lost]
        found += [each for each in self.checks.undone() if not lost]
        found += [each for each in self._nested.unfinished() if not lost]
        found += [each for each in self.checks.unanswered() if not lost]
        for worker in self.alive():
            for partition, task in worker.engine.tasks.items():
                found += [
                    f"{worker.name} has not done {topic} {partition} {tracker.lowest}"
                    for topic, tracker in task.trackers.items()
                    if tracker.pending or tracker.dirty
                ]
                if task.ledger.sealed or task.ledger.open.state.changes:
                    found.append(f"{worker.name} has not committed {partition}")
        return found

    def _may_begin(self, run_id: str) -> bool:
        """Whether a run has begun, or somebody waits for it: others were given up unsent."""
        calls = [call for each in self.callers for call in each.calls if call.run_id == run_id]
        given_up = [
            call.handler.is_done() and isinstance(call.handler.exception(), RunUnheard)
            for call in calls
        ]
        return run_id in self.checks.begun or not all(given_up) or not calls

    def _check_the_end(self) -> None:
        if self._replacing.happened:
            return
        lost = self._replacing.excused()
        for worker in self.alive():
            other = worker.differs_from(self.checks.state)
            if other:
                self.world.violate(f"the local state of {worker.name} is another: {other}")
        for run_id in self.checks.ends.keys() - lost:
            self.checks.result_is_right(run_id)
        for run in self.plan.runs:
            self.checks.suspects_are_right(run)
        if self.plan.kind == "caught":
            self._caught.check_the_end(self.checks)
        self._check_attempts()
        clock_checks.check(self.world, self.broker, self.plan)
        check_strays(self.world, self.broker, self.plan)
        for caller in self.callers:
            for call in (each for each in caller.calls if each.run_id not in lost):
                call_checks.check(self.world, self.checks, call)
                if caller.reads_streams:
                    call_checks.check_stream(self.world, self.checks, call)

    def _check_attempts(self) -> None:
        """A step whose worker keeps its partition is begun once, also over a rebalance."""
        if not self.plan.keeps_its_partitions or damage(self.plan.seed) is not None:
            return
        resumed = {run.run_id for run in self.plan.runs if run.resumed_at}
        attempts = Counter(
            attempt.key for attempt in self.laboratory.attempts if attempt.run_id not in resumed
        )
        for key, count in attempts.items():
            if count > 1:
                self.world.violate(f"{key} is begun {count} times by a worker that keeps its task")

    def _check_indexes(self) -> None:
        """What is forgotten is in no index any more; the last commit may be on its way to it."""
        emptied = self._happens(
            lambda: not any(worker.indexed() for worker in self.alive()),
            self.world.now - BEGINNING + EMPTY_WITHIN,
        )
        if not emptied:
            for worker in self.alive():
                for key in worker.indexed()[:1]:
                    self.world.violate(f"{worker.name} has what is forgotten in its index: {key!r}")

    def _worker(self, name: str) -> Worker:
        return next(each for each in self.workers if each.name == name)

    def _owned_since(self, name: str, partition: int) -> float | None:
        worker = self._worker(name)
        if partition not in worker.partitions:
            self.world.violate(f"{name} works on {partition}, which it was not assigned")
        if worker.is_rash(partition):
            self.world.violate(f"{name} has taken {partition} while a rebalance was under way")
        if worker.is_blind(partition):
            self.world.violate(f"{name} works on {partition}, which it lost before it was assigned")
        self._replacing.goes_on(partition)
        return worker.owned_since(partition)


def _slow_ends(seconds: float, request: str) -> float:
    return seconds if request == "ends" else 0.0


def simulate(seed: int) -> Verdict:
    """Run the history of a seed."""
    called = calls_plan.called(themed(plan.make(seed)), plan.LONG)
    damaged = damage(seed) is not None
    planned = branched(rare(astray(poisoned(undisturbed(called)))), damaged=damaged)
    for add in (edited, timed, paying, caught, waited, nested, renaming):
        planned = add(planned, damaged=damaged)
    planned = queued(planned, damaged=damaged)
    made = clocks.clocked(planned, busy=damaged)
    ids = Random(f"ids {seed}")
    uncommitted = made.crowd.uncommitted if made.crowd else budget.UNCOMMITTED_STEPS
    with (
        patch.object(budget, "UNCOMMITTED_STEPS", uncommitted),
        patch.object(budget, "UNCOMMITTED_SHARE_STEPS", UNCOMMITTED_SHARE),
        patch.object(budget, "WINDOW_SHARE_BYTES", WINDOW_SHARE_BYTES),
        patch.object(intake, "CROWDED_RECORDS", made.crowded),
        patch.object(loading, "STALE_SECONDS", made.stale_seconds),
        patch.object(lost_tasks, "REOPEN_SECONDS", made.opening.reopen_seconds),
        # Readers that are slow, or come back, read the log again.
        patch.object(event_stream, "KEPT_RECORDS", 4),
        patch.object(event_stream, "_CHUNK", 2),
        patch.object(reader, "PAGE_OFFSETS", 8),
        patch.object(beginning, "CLOCKS_MS", 3_000),
        patch.object(wire, "BATCH_RECORDS", CROWD_BATCH if made.crowd else wire.BATCH_RECORDS),
        # Work that is resumed begins in the order of its events' ids.
        patch.object(uuid, "uuid4", lambda: uuid.UUID(int=ids.getrandbits(128))),
    ):
        history = History(made)
        with patch.object(time, "time", history.world.wall):
            return history.run()
