"""What others write into a workflow's topics: what starts again, what nobody can read, a crowd."""

from faust.types import TP

from fleet.records.envelope import Envelope
from fleet.records.events import encoded, type_name
from fleet.records.lifecycle import Cancelled, Resumed, Started
from fleet.records.partitions import partition_of
from simulation.astray import ASTRAY
from simulation.broker import Broker
from simulation.flow import POISON, Advice, Order, Part
from simulation.grown import Hint
from simulation.plan import Crowd
from simulation.waited import Nod, PlannedNod
from simulation.worker import TOPICS


def copy_start(broker: Broker, run_id: str, partitions: int, *, shift: int = 0) -> None:
    """Write a run's first start event once more, as a client does that heard no answer.

    With a *shift* into another partition, as a client does that chooses by another hash.
    """
    tp = TP(TOPICS.event(type_name(Order)), partition_of(run_id, partitions))
    for record in broker.at(tp).records():
        if record.key == run_id.encode():
            other = tp._replace(partition=(tp.partition + shift) % partitions)
            broker.produce(other, [(record.key, record.value, record.headers)])
            return


def copy_shown(broker: Broker, partitions: int) -> None:
    """Write the last records of the stream once more, as a client does that heard no answer."""
    for partition in range(partitions):
        tp = TP(TOPICS.stream, partition)
        for record in broker.at(tp).records()[-3:]:
            broker.produce(tp, [(record.key, record.value, record.headers)])


def poison(broker: Broker, run_id: str, partitions: int, kind: str) -> None:
    """Write a record that cannot be read, or that is in a partition where its run is not."""
    if kind == ASTRAY:
        copy_start(broker, run_id, partitions, shift=1)
        return
    tp = TP(TOPICS.event(type_name(Part)), partition_of(run_id, partitions))
    key, value = run_id.encode(), _VALUES.get(kind, b"{}")
    name = "Nothing" if kind == "type" else type_name(Part)
    event_id = f"poison of {run_id}" + ("!" * 300 if kind == "long" else "")
    envelope = Envelope(run_id=run_id, event_id=event_id, type=name)
    headers = [] if kind == "envelope" else [*envelope.headers(), *_HEADERS.get(kind, ())]
    if kind in ("lifecycle", "started"):
        tp = TP(TOPICS.runs, tp.partition)
        headers = envelope._replace(type=_KINDS[kind]).headers()
    broker.produce(tp, [(b"another" if kind == "key" else key, value, headers)])


_KINDS = {"lifecycle": "nothing", "started": Started.kind}
_HEADERS = {
    "timeout": [("fleet-timeout-seconds", b"1e999")],
    "epoch": [("fleet-epoch", b"9" * 4_000)],
}
_VALUES: dict[str, bytes | None] = {
    "tombstone": None,
    "deep": b"[" * 10_000,
    "validator": b'{"number": %d, "fails": "", "by": 0}' % POISON,
    "started": b'{"start_event_id": "x", "timeout_seconds": 1e300}',
}


def resume(broker: Broker, run_id: str, partitions: int, epoch: int) -> None:
    """Ask for an ended run to go on as *epoch*."""
    tp = TP(TOPICS.runs, partition_of(run_id, partitions))
    number = sum(1 for _ in broker.at(tp).records())
    envelope = Envelope(run_id=run_id, event_id=f"request {number}", type=Resumed.kind, epoch=epoch)
    broker.produce(tp, [(run_id.encode(), Resumed().encode(), envelope.headers())])


def crowd(broker: Broker, partitions: int, come: Crowd) -> None:
    """Write events of runs that nobody starts, and cancels of others, all at once."""
    advice = Advice(text="x" * come.size)
    for number in range(come.events):
        envelope = Envelope(
            run_id=f"crowd{number}", event_id=f"crowd event {number}", type=type_name(Advice)
        )
        _write(broker, partitions, TOPICS.event(type_name(Advice)), envelope, encoded(advice))
    cancelled = Cancelled(reason="crowd").encode()
    for number in range(come.cancels):
        envelope = Envelope(
            run_id=f"nobody{number}", event_id=f"crowd cancel {number}", type=Cancelled.kind
        )
        _write(broker, partitions, TOPICS.runs, envelope, cancelled)


def _write(broker: Broker, partitions: int, topic: str, envelope: Envelope, value: bytes) -> None:
    tp = TP(topic, partition_of(envelope.run_id, partitions))
    broker.produce(tp, [(envelope.run_id.encode(), value, envelope.headers())])


def hint(broker: Broker, run_id: str, partitions: int) -> None:
    """Send a run an event of a type that only a later version of the workflow knows."""
    tp = TP(TOPICS.inbox, partition_of(run_id, partitions))
    number = sum(1 for _ in broker.at(tp).records())
    envelope = Envelope(run_id=run_id, event_id=f"hint {number} of {run_id}", type=type_name(Hint))
    broker.produce(tp, [(run_id.encode(), encoded(Hint(text="look")), envelope.headers())])


def nod(broker: Broker, planned: PlannedNod, partitions: int) -> None:
    """Answer as a client that does not know which events the workflow takes."""
    name = f"nod {planned.token}"
    envelope = Envelope(run_id=planned.run_id, event_id=name, type=type_name(Nod))
    value = encoded(Nod(number=planned.number, token=planned.token))
    _write(broker, partitions, TOPICS.inbox, envelope, value)
