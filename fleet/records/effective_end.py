"""
Which terminal record of a run counts: its *effective end*.

Workers, callers and the command line each read the `runs` topic for themselves. They agree on the
end of a run because all of them ask `counts`. The records of a run are judged in the order of
their partition, one after the other.
"""

from typing import NamedTuple

#: The run has no effective end yet.
NO_END = -1


class SoFar(NamedTuple):
    """What the earlier records of a run say about it."""

    #: The epoch to which the run was resumed last; 0 if it never was.
    epoch: int = 0
    #: The epoch of its newest effective end.
    ended_epoch: int = NO_END
    #: The offset from which records are of this run. Older ones are of a run with the same id that
    #: its group has forgotten.
    read_from: int = 0


def counts(epoch: int, offset: int, so_far: SoFar) -> bool:
    """Tell whether the terminal record of *epoch* at *offset* is an effective end.

    The first one of an epoch counts. One of an epoch that the run has left does not: the run was
    resumed, or has ended in a later epoch.
    """
    return offset >= so_far.read_from and epoch >= so_far.epoch and epoch > so_far.ended_epoch
