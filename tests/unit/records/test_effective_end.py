"""The rule for a run's effective end, as a table."""

import pytest

from fleet.records import effective_end
from fleet.records.effective_end import NO_END, SoFar

NOTHING = SoFar()
RESUMED = SoFar(epoch=1)
ENDED = SoFar(ended_epoch=0)
ENDED_AGAIN = SoFar(epoch=1, ended_epoch=1)
#: The run with this id that counts is read from offset 7.
SECOND_RUN = SoFar(read_from=7)


@pytest.mark.parametrize(
    ("epoch", "offset", "so_far", "effective"),
    [
        # The first terminal record is the end, also if nothing is known of the run.
        (0, 0, NOTHING, True),
        (2, 9, NOTHING, True),
        # A second one of the epoch is not.
        (0, 9, ENDED, False),
        (1, 9, ENDED_AGAIN, False),
        # A resumed run ends once more, and no record of the epoch before ends it.
        (1, 9, RESUMED, True),
        (0, 9, RESUMED, False),
        # Nothing ends the run in an epoch before its newest end.
        (0, 9, ENDED_AGAIN, False),
        (0, 9, SoFar(ended_epoch=3), False),
        # A record of a later epoch counts: its writer knows that the run was resumed.
        (1, 9, ENDED, True),
        (2, 9, RESUMED, True),
        # Records before `read_from` are of an earlier run with the same id.
        (0, 6, SECOND_RUN, False),
        (0, 7, SECOND_RUN, True),
        (1, 6, SoFar(epoch=1, ended_epoch=0, read_from=7), False),
    ],
)
def test_the_rule(epoch: int, offset: int, so_far: SoFar, effective: bool) -> None:
    """Epoch and offset of a terminal record, and what the earlier records say."""
    assert effective_end.counts(epoch, offset, so_far) is effective


def test_a_run_without_an_end_may_end_in_its_first_epoch() -> None:
    """No epoch is as low as `NO_END`."""
    assert SoFar().epoch > NO_END
