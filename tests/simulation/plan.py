"""What happens in a history: made from its seed, printed with its trace."""

from dataclasses import dataclass, field, replace
from random import Random

from simulation import deploys
from simulation.calls_plan import NO_TROUBLE, Calling
from simulation.clocks import ALL_RIGHT, Clocks
from simulation.deploys import Mix

#: After this no fault begins, in seconds of the history.
HEALED = 30.0
#: In how many of the histories thousands of records wait at once.
CROWDED = 0.015
#: For so long ended runs are remembered where they may be started again, in seconds.
LONG = 60.0
#: Requests of a worker at which it may be killed, before they arrive or after they were answered.
BOUNDARIES = ("init", "produce", "end", "ends", "join", "offsets")


@dataclass(frozen=True)
class Call:
    """A start event of a run."""

    at: float
    caller: int
    #: How many parts: one that differs from the run's first call is a conflict.
    parts: int


@dataclass(frozen=True)
class RunPlan:
    """One run id: who starts it how often, and what else is sent to it."""

    run_id: str
    calls: tuple[Call, ...]
    fails: str
    timeout_seconds: float | None
    cancelled_at: tuple[float, ...]
    advised_at: tuple[float, ...]
    #: When the first start event is written a second time, as it is: a client that tried again.
    copied_at: tuple[float, ...] = ()
    #: When something is written that cannot be read, and what: `value`, `type` or `envelope`.
    poisoned_at: tuple[tuple[float, str], ...] = ()
    #: When somebody asks for the run to be resumed, and when what makes it fail is mended.
    resumed_at: tuple[float, ...] = ()
    mended_at: float = 0.0
    #: What its failing step does; see `poisoned`.
    raises: str = ""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    at: float
    kind: str
    #: Which of the workers that are there then.
    worker: int
    seconds: float = 0.0
    #: Of a kill at a boundary: which request, which time, before it arrives or after.
    request: str = ""
    count: int = 0
    when: str = ""
    #: Of a lag: which of the topics.
    topic: int = 0
    #: What the next process of this worker finds: `kept`, `lost` or `other`.
    disk: str = "kept"


@dataclass(frozen=True)
class Compute:
    """What a worker's computing takes, in seconds."""

    callback: float = 0.0
    #: To take a record, to run the code of a step, to write a change of the state.
    record: float = 0.0
    step: float = 0.0
    change: float = 0.0


@dataclass(frozen=True)
class Crowd:
    """What waits for the workers all at once: events of runs that nobody starts, and cancels."""

    at: float
    events: int
    #: Runs that are cancelled and were never seen: each leaves an end.
    cancels: int
    #: How large each event is, in bytes.
    size: int
    #: What `budget.UNCOMMITTED_STEPS` is here.
    uncommitted: int


@dataclass(frozen=True)
class Wire:
    """What goes wrong between producers of transactions and brokers."""

    #: Chance that a connection breaks, and that a node fails, at each request.
    breaks: float
    #: When leaders and coordinators move, and how long they are nowhere at most, in seconds.
    moved_at: tuple[float, ...]
    away_seconds: float
    #: When brokers forget transactional ids that nobody has used.
    expired_at: tuple[float, ...]


@dataclass(frozen=True)
class Opening:
    """What goes wrong while workers open their partitions, and how soon they open lost ones."""

    #: Chance that a call of a loader's reader fails, and that it takes seconds.
    reader_fails: float = 0.0
    reader_hangs: float = 0.0
    #: Chance that such a call never ends.
    reader_stands: float = 0.0
    #: Chance that taking a transactional id takes seconds.
    init_slow: float = 0.0
    #: Chance that a reader or a task's producer never stops.
    deaf: float = 0.0
    #: Chance that a local store breaks, at each operation.
    disk_breaks: float = 0.0
    #: Chance that a disk has no space left, at each write, for a while.
    disk_fills: float = 0.0
    #: What `lost_tasks.REOPEN_SECONDS` is here.
    reopen_seconds: float = 15.0


@dataclass(frozen=True)
class Plan:
    """A history."""

    seed: int
    partitions: int
    workers: int
    slots: int
    #: Longest duration of a step, in seconds.
    longest: float
    drain_seconds: float
    #: Chance that the broker refuses a batch.
    refusal: float
    #: How long ended runs are remembered, in seconds.
    dedupe_seconds: float
    runs: tuple[RunPlan, ...]
    #: Runs that are advised and never started, and when.
    ghosts: tuple[float, ...]
    #: What `loading.STALE_SECONDS` is here, and how long compaction leaves tombstones. Between them
    #: is more than the clocks of two workers differ.
    stale_seconds: float
    tombstone_seconds: float
    #: When the changelogs are compacted.
    compacted_at: tuple[float, ...]
    faults: tuple[Fault, ...]
    compute: Compute
    crowd: Crowd | None
    #: What goes wrong between producers of transactions and brokers.
    wire: "Wire"
    #: Deployments of a later version of the workflow.
    mix: Mix | None = None
    opening: Opening = field(default_factory=Opening)
    calling: Calling = NO_TROUBLE
    #: FLEET_CRASH_LIMIT; 0 where no step ends its process.
    crash_limit: int = 0
    clocks: Clocks = ALL_RIGHT
    #: Which of `grown.FLOWS` its workflow is, where all workers are of one version.
    kind: str = "plain"
    #: `num_concurrent_runs` of each worker.
    concurrent_runs: int | None = None
    #: Whether a step sends events that no step takes.
    strays: bool = False
    #: What `intake.CROWDED_RECORDS` is here.
    crowded: int = 5_000

    @property
    def is_calm(self) -> bool:
        """Whether nothing happens to workers, brokers and what is between them."""
        troubled = self.faults or self.wire.breaks or self.wire.moved_at
        return not troubled and self.opening == Opening()

    @property
    def keeps_its_partitions(self) -> bool:
        """Whether one worker has everything all the time, whatever rebalances there are."""
        alone = self.workers == 1 and all(fault.kind == "rebalance" for fault in self.faults)
        quiet = replace(self, faults=()).is_calm and self.compute == Compute()
        others = (self.crowd, self.mix, self.refusal, self.crash_limit, self.calling.faults)
        return alone and quiet and self.kind == "plain" and not any(others)

    def __str__(self) -> str:
        whole = {**vars(self), "runs": len(self.runs), "faults": len(self.faults)}
        lines = [
            ", ".join(f"{name} {value}" for name, value in whole.items()),
            *(f"  {each}" for each in self.runs),
            *(f"  {each}" for each in self.faults),
        ]
        return "\n".join(lines)


def run_once(
    run_id: str, begin: float, random: Random, *, parts: int = 0, most: int = 2, raises: str = ""
) -> RunPlan:
    """Return a run that is started once, of *parts* or at random of up to *most*.

    One that *raises* does it in its first step.
    """
    call = Call(begin, random.randrange(2), parts or random.randint(1, most))
    return RunPlan(run_id, (call,), "begin" if raises else "", None, (), (), raises=raises)


def make(seed: int) -> Plan:
    """Return the plan of a seed."""
    random = Random(f"plan {seed}")
    workers = random.choice((1, 1, 2, 2, 3))
    stale = random.choice((4.0, 4.0, 1_000.0, 1_000.0))
    dedupe = random.choice((LONG, LONG, 1.0))
    partitions = random.choice((1, 1, 2))
    slots, longest = random.choice((1, 3, 100, 100)), random.choice((0.02, 0.5, 3.0))
    crowd = _crowd(seed)
    made = Plan(
        seed=seed,
        partitions=partitions,
        workers=workers,
        slots=slots,
        # A crowd goes through the slots before the history has to be over.
        longest=longest if crowd is None else min(longest, slots * 0.02),
        drain_seconds=random.choice((0.0, 2.0, 10.0)),
        refusal=random.choice((0, 0, 0.05)),
        dedupe_seconds=dedupe,
        runs=tuple(
            _resumed(seed, _run(random, number, once=dedupe < LONG))
            for number in range(random.randint(1, 4))
        ),
        ghosts=tuple(random.uniform(5, 20) for _ in range(random.choice((0, 0, 0, 1)))),
        stale_seconds=stale,
        tombstone_seconds=stale + 2.5,
        compacted_at=tuple(random.uniform(8, 40) for _ in range(random.choice((0, 4)))),
        faults=(
            *(_fault(random) for _ in range(random.choice((0, 1, 1, 2, 2, 3, 4)))),
            *_pause(seed),
            *_shuffles(seed),
            *_crowd_stall(seed),
        ),
        compute=_compute(seed),
        crowd=crowd,
        wire=_wire(seed),
        opening=_opening(seed),
    )
    return made if crowd is not None else _mixed(made)


def _mixed(made: Plan) -> Plan:
    """Return a plan with its deployments, if it has any."""
    once = made.runs[0].calls[0].at if made.dedupe_seconds < LONG else None
    mix = deploys.mix(made.seed, once)
    if mix is None or mix.cancelled_at is None:
        return replace(made, mix=mix)
    # Steps are under way when workers stop, and their events are left.
    return replace(made, mix=mix, longest=1.0, drain_seconds=0.0)


def _wire(seed: int) -> Wire:
    random = Random(f"wire {seed}")
    breaks = random.choice((0.0, 0.0, 0.0, 0.03, 0.15))
    moves = random.choice((0, 0, 0, 1, 3))
    return Wire(
        breaks=breaks,
        moved_at=tuple(random.uniform(3, 20) for _ in range(moves)),
        away_seconds=random.choice((0.05, 1.0, 4.0)),
        expired_at=(random.uniform(18, 29),) if random.random() < 0.15 else (),
    )


def _run(random: Random, number: int, *, once: bool) -> RunPlan:
    begin, parts = random.uniform(5, 15), random.choice((1, 1, 2, 3))
    again = 0 if once else random.choice((0, 0, 0, 1, 2))
    fails = random.choice(("", "", "", "", "nobody", "never", "begin", "shape", "note", "end"))
    timeout = random.choice((None, None, random.uniform(0.05, 4), 8.0))
    later = [begin + random.choice((0.0, 0.003, random.uniform(0, 12))) for _ in range(again)]
    first = Call(begin, random.randrange(2), parts)
    repeated = [
        Call(at, random.randrange(2), random.choice((parts, parts, parts + 1))) for at in later
    ]
    return RunPlan(
        run_id=f"run{number}",
        calls=(first, *repeated),
        fails=fails,
        timeout_seconds=timeout or (5.0 if fails == "never" else None),
        cancelled_at=_some(random, begin, 0.25),
        advised_at=_some(random, begin, 0.25),
        copied_at=() if once else _some(random, begin + 0.5, 0.15),
        poisoned_at=tuple(
            (at, random.choice(("value", "type", "envelope"))) for at in _some(random, begin, 0.1)
        ),
    )


def _resumed(seed: int, run: RunPlan) -> RunPlan:
    """Return the plan of a run with when it is resumed."""
    # Chance of its own: a history in which nothing is resumed is the same with and without it.
    random, begin = Random(f"resume {seed} {run.run_id}"), run.calls[0].at
    if random.random() > 0.25:
        return run
    times = [begin + random.uniform(0, 14) for _ in range(random.choice((1, 1, 2, 3)))]
    if random.random() < 0.2:
        times.append(times[-1] + 0.001)
    mended_at = begin + random.choice((0.0, random.uniform(0, 14), 1_000.0))
    return replace(run, resumed_at=tuple(times), mended_at=mended_at)


def _some(random: Random, begin: float, chance: float) -> tuple[float, ...]:
    if random.random() > chance:
        return ()
    return tuple(
        begin + random.choice((random.uniform(-1, 0.2), random.uniform(0, 6)))
        for _ in range(random.choice((1, 1, 2)))
    )


def _pause(seed: int) -> tuple[Fault, ...]:
    """Freeze a worker at one of its requests, mostly after another one was killed."""
    # As `_resumed`: a history without it is the same as before.
    random = Random(f"pause {seed}")
    if random.random() > 0.1:
        return ()
    at, worker = random.uniform(3, 18), random.randrange(3)
    pause = Fault(
        at=at,
        kind="pause",
        worker=worker,
        seconds=random.uniform(5, 14),
        request=random.choice((*BOUNDARIES, "ends", "ends", "ends")),
        count=random.randint(0, 8),
        when=random.choice(("before", "after")),
    )
    kill = Fault(at=at + 0.1, kind="kill", worker=worker + 1, seconds=random.uniform(0, 3))
    return (pause, kill) if random.random() < 0.7 else (pause,)


def _opening(seed: int) -> Opening:
    random = Random(f"opening {seed}")
    kinds = [kind for kind in ("reader", "deaf", "disk", "slow") if random.random() < 0.12]
    stands = random.random() < 0.05
    return Opening(
        reader_fails=random.choice((0.02, 0.2)) if "reader" in kinds else 0.0,
        reader_hangs=random.choice((0.0, 0.05)) if "reader" in kinds else 0.0,
        deaf=random.choice((0.2, 1.0)) if "deaf" in kinds else 0.0,
        disk_breaks=random.choice((0.0005, 0.005, 0.02)) if "disk" in kinds else 0.0,
        disk_fills=_fills(seed),
        reader_stands=0.02 if stands else 0.0,
        init_slow=random.choice((0.2, 1.0)) if "slow" in kinds else 0.0,
        reopen_seconds=random.choice((15.0, 15.0, 3.0, 0.1)) if random.random() < 0.5 else 15.0,
    )


def _fills(seed: int) -> float:
    # As `_resumed`: of its own.
    random = Random(f"full disk {seed}")
    return random.choice((0.01, 0.1)) if random.random() < 0.06 else 0.0


def _shuffles(seed: int) -> tuple[Fault, ...]:
    """Take transactional ids away, and begin rebalances while tasks are opened."""
    random = Random(f"shuffles {seed}")
    if random.random() > 0.15:
        return ()
    found = []
    for _ in range(random.choice((1, 2, 3))):
        at = random.uniform(4, 20)
        found += [
            Fault(at=at, kind="fence", worker=random.randrange(3), count=random.randrange(2)),
            Fault(
                at=at + random.choice((0.0, random.uniform(0, 6))),
                kind="shuffle",
                worker=random.randrange(3),
                request=random.choice(("init", "init", "ends", "join", "end", "offsets")),
                count=random.choice((0, 0, 1, 3)),
                when=random.choice(("before", "after")),
            ),
        ]
    return tuple(found)


def _crowd(seed: int) -> Crowd | None:
    """Let thousands of records wait, in few histories: each takes as long as 20 others."""
    random = Random(f"crowd {seed}")
    if random.random() > CROWDED:
        return None
    return Crowd(
        at=random.uniform(1, 15),
        events=random.choice((200, 500, 1_500, 3_000)),
        cancels=random.choice((0, 300, 1_000, 3_000)),
        size=random.choice((100, 3_000)),
        uncommitted=random.choice((40, 40, 4_000)),
    )


def _crowd_stall(seed: int) -> tuple[Fault, ...]:
    """Let the commits of a worker that has a crowd before it hang for a while."""
    random, crowd = Random(f"crowd stall {seed}"), _crowd(seed)
    if crowd is None or random.random() > 0.7:
        return ()
    at, seconds = crowd.at + random.uniform(0, 2), random.uniform(2, 9)
    return (Fault(at=at, kind="stall", worker=random.randrange(3), seconds=seconds),)


def _compute(seed: int) -> Compute:
    """Let a worker's computing take time: wherever there is a crowd, and without one."""
    random, crowd = Random(f"compute {seed}"), _crowd(seed)
    if random.random() > 0.03 and crowd is None:
        return Compute()
    # A crowd is worked off in some seconds; a worker that is never done with it is not the point.
    most = 0.02 if crowd is None else 3.0 / (crowd.events + crowd.cancels)
    return Compute(
        callback=random.uniform(0, most / 5),
        record=random.uniform(0, most),
        step=random.uniform(0, most),
        change=random.uniform(0, most / 2),
    )


def _fault(random: Random) -> Fault:
    kinds = (
        "kill",
        "boundary",
        "boundary",
        "freeze",
        "stop",
        "rebalance",
        "join",
        "hang",
        "stall",
        "lag",
    )
    return Fault(
        at=random.uniform(3, 18),
        kind=random.choice(kinds),
        worker=random.randrange(3),
        seconds=random.choice((random.uniform(0, 3), random.uniform(5, 14))),
        request=random.choice(BOUNDARIES),
        count=random.randint(0, 8),
        when=random.choice(("before", "after")),
        topic=random.randrange(6),
        disk=random.choice(("kept", "kept", "lost", "other")),
    )
