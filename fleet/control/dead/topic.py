"""Reads a step group's dead letters, and the records of their runs."""

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
    """Raised when no dead letter has this id.

    What to do: Look at `fleet dead list`, and name a letter that it shows.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, place: tuple[int, int], topic: str) -> None:
        super().__init__(
            f"{topic} has no dead letter {place[0]}:{place[1]}; `fleet dead list` shows those that "
            "exist"
        )


@dataclass(frozen=True, slots=True)
class Found:
    """The letters that a command takes, and the log of their runs."""

    statuses: list[LetterStatus]
    log: RunLog
    #: How far `runs` was read.
    read_to: Positions


async def look(source: Source, wanted: Filter) -> Found:
    """Read the letters that *wanted* takes, with their status.

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
        # A letter has the partition number of its run.
        concerned = {letter.partition for letter in letters}
        read_to = await reader.take_all(
            topic_reader.partitions(source.topics.runs, sorted(concerned)), log.take
        )
    every = dead_letters.statuses(letters, log, time.time(), source.keep_days)
    return Found([status for status in every if wanted.takes(status.letter)], log, read_to)


async def one(source: Source, place: tuple[int, int]) -> Delivered:
    """Return the record of one letter; raises NoSuchLetter, and the errors of `look`."""
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
