"""Reading a step group's dead letters, and of `runs` what tells how they stand by now."""

import time
from dataclasses import dataclass

from fleet.control import times
from fleet.control.dead import letters as dead_letters
from fleet.control.dead.letters import Filter, Letter, LetterStatus
from fleet.control.runs.log import RunLog
from fleet.control.source import Source
from fleet.kafka import topic_reader
from fleet.kafka.topic_reader import Positions
from fleet.records.errors import ExitCode, FleetError
from fleet.records.log import Delivered


class NoSuchLetter(FleetError):
    """Raised when no dead letter is where one is asked for."""

    exit_code = ExitCode.REFUSED

    def __init__(self, place: tuple[int, int], topic: str) -> None:
        super().__init__(
            f"{topic} has no dead letter at {place[0]}:{place[1]}; `fleet dead list` shows those "
            "that are there"
        )


@dataclass(frozen=True, slots=True)
class Found:
    """Letters that were looked for, and the log that they were compared with."""

    statuses: list[LetterStatus]
    log: RunLog
    #: Up to where `runs` was read.
    read_to: Positions


async def look(source: Source, wanted: Filter) -> Found:
    """Read the letters that *wanted* takes and how they stand.

    Raises BrokerUnreachable, TopicsMissing and TopicsMismatched.
    """
    count = await source.partitions()
    letters: list[Letter] = []

    def take(record: Delivered) -> None:
        if letter := dead_letters.parse(record):
            letters.append(letter)

    since_ms = times.milliseconds(wanted.since) if wanted.since else None
    async with topic_reader.connected(source.settings) as reader:
        tps = topic_reader.partitions(source.topics.dead, count)
        await reader.take_all(tps, take, since_ms)
        log = RunLog(only=dead_letters.run_ids(letters))
        # A letter stands in the partition of its run.
        concerned = {each.partition for each in letters}
        read_to = await reader.take_all(
            topic_reader.partitions(source.topics.runs, sorted(concerned)), log.take
        )
    every = dead_letters.statuses(letters, log, time.time(), source.keep_days)
    return Found([each for each in every if wanted.takes(each.letter)], log, read_to)


async def one(source: Source, place: tuple[int, int]) -> Delivered:
    """Return the record of one letter; raise NoSuchLetter, and what `look` raises."""
    partition, offset = place
    if partition >= await source.partitions():
        raise NoSuchLetter(place, source.topics.dead)
    found: list[Delivered] = []
    [tp] = topic_reader.partitions(source.topics.dead, [partition])
    async with topic_reader.connected(source.settings) as reader:
        end = (await reader.ends([tp]))[tp]
        async for batch in reader.read({tp: (offset, min(offset + 1, end))}):
            found += batch.delivered()
    if not found or dead_letters.parse(found[0]) is None:
        raise NoSuchLetter(place, source.topics.dead)
    return found[0]
