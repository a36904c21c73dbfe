"""
Where in a row a node of a drawing stands, so that consecutive nodes are in a straight line.

The method of Brandes and Köpf (2001): it joins nodes and bends to columns with their middle
neighbours and pushes the columns together, once from each of the four corners. The answer is the
mean of the two middle results.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from graphlib import TopologicalSorter
from itertools import pairwise

from fleet.drawing.layers import Arrow, Rows

#: Pixels between the middles of two neighbours in a row.
Distance = Callable[[int, int], float]
_Columns = dict[int, float]


def columns(rows: Rows, links: Sequence[Arrow], bends_from: int, distance: Distance) -> _Columns:
    """Return the middle of each slot in pixels; slots from *bends_from* on are bends."""
    barred = _barred(rows, links, bends_from)
    above, below = defaultdict[int, list[int]](list), defaultdict[int, list[int]](list)
    for upper, lower in links:
        above[lower].append(upper)
        below[upper].append(lower)
    answers = []
    for seen, near in ((rows, above), (rows[::-1], below)):
        answers.append(_pushed(seen, _joined(seen, near, barred), distance))
        mirrored = [row[::-1] for row in seen]
        found = _pushed(mirrored, _joined(mirrored, near, barred), distance)
        answers.append({slot: -x for slot, x in found.items()})
    return _middle(answers)


def _barred(rows: Rows, links: Sequence[Arrow], bends_from: int) -> frozenset[Arrow]:
    """Return the links that cross the middle of a long arrow, which is to stay straight."""
    place = {slot: at for row in rows for at, slot in enumerate(row)}
    row_of = {slot: at for at, row in enumerate(rows) for slot in row}
    by_row = defaultdict[int, list[Arrow]](list)
    for link in links:
        by_row[row_of[link[0]]].append(link)
    barred = set()
    for found in by_row.values():
        inner = [link for link in found if min(link) >= bends_from]
        for upper, lower in set(found) - set(inner):
            sides = ((place[upper] - place[a]) * (place[lower] - place[b]) for a, b in inner)
            if any(side < 0 for side in sides):
                barred |= {(upper, lower), (lower, upper)}
    return frozenset(barred)


def _joined(
    rows: Rows, near: Mapping[int, Sequence[int]], barred: frozenset[Arrow]
) -> dict[int, int]:
    """Join each slot to one in the row before; return the first slot of each one's column."""
    root = {slot: slot for row in rows for slot in row}
    for before, row in pairwise(rows):
        place = {slot: at for at, slot in enumerate(before)}
        taken = -1
        for slot in row:
            for other in _medians(sorted(near.get(slot, ()), key=place.__getitem__)):
                if root[slot] == slot and place[other] > taken and (other, slot) not in barred:
                    root[slot] = root[other]
                    taken = place[other]
    return root


def _medians(several: Sequence[int]) -> Sequence[int]:
    return several[(len(several) - 1) // 2 : len(several) // 2 + 1]


def _pushed(rows: Rows, root: Mapping[int, int], distance: Distance) -> _Columns:
    """Push columns to the left as far as they go, and back to the right if that closes gaps."""
    left: dict[int, dict[int, float]] = {column: {} for column in root.values()}
    right: dict[int, dict[int, float]] = {column: {} for column in root.values()}
    for row in rows:
        for one, other in pairwise(row):
            apart = max(distance(one, other), left[root[other]].get(root[one], 0))
            left[root[other]][root[one]] = right[root[one]][root[other]] = apart
    order = list(TopologicalSorter(left).static_order())
    x: _Columns = {}
    for column in order:
        x[column] = max((x[other] + apart for other, apart in left[column].items()), default=0)
    for column in reversed(order):
        if right[column]:
            x[column] = min(x[other] - apart for other, apart in right[column].items())
    return {slot: x[column] for slot, column in root.items()}


def _middle(answers: Sequence[_Columns]) -> _Columns:
    """Return the mean of the middle two answers, all shifted onto the narrowest one."""
    narrowest = min(answers, key=lambda found: max(found.values()) - min(found.values()))
    left, right = min(narrowest.values()), max(narrowest.values())
    shifted = []
    for at, found in enumerate(answers):
        # The second and fourth are pushed to the right.
        by = right - max(found.values()) if at % 2 else left - min(found.values())
        shifted.append({slot: x + by for slot, x in found.items()})
    middle = {}
    for slot in narrowest:
        _, low, high, _ = sorted(found[slot] for found in shifted)
        middle[slot] = (low + high) / 2
    return middle
