"""
Which node stands in which row of a drawing, and in which order.

The method of Sugiyama, Tagawa and Toda (1981): arrows that close a loop are set aside, the longest
path to a node gives its row, arrows over several rows get a bend in each, and the order within rows
is swept up and down by the mean place of the neighbours until fewer arrows do not cross.
"""

import itertools
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Arrow = tuple[int, int]
#: Rows from the top; each holds nodes and bends from left to right.
Rows = list[list[int]]
_Neighbours = Mapping[int, Sequence[int]]

#: Up and down; beyond this, drawings of 20 steps did not get better.
_SWEEPS = 24
#: No node: where a walk begins, and what follows a node's last arrow.
_OUTSIDE = -1


@dataclass(frozen=True, slots=True)
class Layers:
    """Rows of nodes and bends. Bends are numbered from the number of nodes on."""

    rows: Rows
    #: Every arrow that goes down, as what it passes: source, bends, target.
    paths: tuple[tuple[int, ...], ...]
    #: Arrows that go back up.
    loops: tuple[Arrow, ...]

    @property
    def links(self) -> list[Arrow]:
        """Return the pieces of paths, each from one row to the next."""
        return [link for path in self.paths for link in pairwise(path)]


def arrange(count: int, arrows: Sequence[Arrow], results: Iterable[int]) -> Layers:
    """Arrange nodes 0 (the start) to *count* - 1 (done); *results* come right above done."""
    order, loops = _walk(count, arrows)
    forward = [arrow for arrow in arrows if arrow not in loops]
    rank = _ranks(order, forward, frozenset(results), count - 1)
    rows: Rows = [[] for _ in range(max(rank.values()) + 1)]
    for node in order:
        rows[rank[node]].append(node)
    bends = itertools.count(count)
    paths = tuple(_path(arrow, rank, rows, bends) for arrow in forward)
    links = [link for path in paths for link in pairwise(path)]
    return Layers(_untangled(rows, links), paths, tuple(loops))


def _walk(count: int, arrows: Sequence[Arrow]) -> tuple[list[int], list[Arrow]]:
    """Walk from node 0, then from what it did not reach.

    Returns the nodes with sources before targets, and the arrows that loop.
    """
    after: dict[int, list[int]] = defaultdict(list)
    for source, target in arrows:
        after[source].append(target)
    # The walk takes the last one first; a stack and no recursion, for long chains.
    trail: list[tuple[int, Iterator[int]]] = [(_OUTSIDE, iter(range(count)))]
    open_, finished, loops = set[int](), dict[int, None](), list[Arrow]()
    while trail:
        node, ways = trail[-1]
        target = next(ways, _OUTSIDE)
        if target == _OUTSIDE:
            trail.pop()
            open_.discard(node)
            finished[node] = None
        elif target in open_:
            loops.append((node, target))
        elif target not in finished:
            open_.add(target)
            trail.append((target, iter(after[target][::-1])))
    return [node for node in reversed(finished) if node != _OUTSIDE], loops


def _ranks(
    order: Sequence[int], arrows: Iterable[Arrow], results: frozenset[int], done: int
) -> dict[int, int]:
    """Return each node's row: as far down as the longest path to it, results below the others."""
    before: dict[int, list[int]] = defaultdict(list)
    for source, target in arrows:
        before[target].append(source)
    rank: dict[int, int] = {}
    for node in order:
        rank[node] = max((rank[source] + 1 for source in before[node]), default=0)
    inner = max(row for node, row in rank.items() if node not in results and node != done)
    return rank | dict.fromkeys(results, inner + 1) | {done: inner + 2}


def _path(
    arrow: Arrow, rank: Mapping[int, int], rows: Rows, bends: Iterator[int]
) -> tuple[int, ...]:
    """Return what *arrow* passes, and put its bends into the rows between."""
    source, target = arrow
    path = [source]
    for row in rows[rank[source] + 1 : rank[target]]:
        path.append(next(bends))
        row.append(path[-1])
    return (*path, target)


def _untangled(rows: Rows, links: Sequence[Arrow]) -> Rows:
    above, below = defaultdict[int, list[int]](list), defaultdict[int, list[int]](list)
    for upper, lower in links:
        above[lower].append(upper)
        below[upper].append(lower)
    best = rows
    for sweep in range(_SWEEPS):
        rows = _swept_down(rows, above) if sweep % 2 == 0 else _swept_down(rows[::-1], below)[::-1]
        rows = [list(row) for row in rows]
        if _crossings(rows, below) < _crossings(best, below):
            best = rows
    return best


def _swept_down(rows: Rows, above: _Neighbours) -> Rows:
    swept = [rows[0]]
    for row in rows[1:]:
        swept.append(_by_mean_place(row, swept[-1], above))
    return swept


def _by_mean_place(row: Sequence[int], fixed: Sequence[int], neighbours: _Neighbours) -> list[int]:
    place = {slot: at for at, slot in enumerate(fixed)}
    own = {slot: at for at, slot in enumerate(row)}

    def mean(slot: int) -> float:
        near = [place[other] for other in neighbours.get(slot, ()) if other in place]
        return sum(near) / len(near) if near else own[slot]

    return sorted(row, key=mean)


def _crossings(rows: Rows, below: _Neighbours) -> int:
    return sum(_crossings_between(upper, lower, below) for upper, lower in pairwise(rows))


def _crossings_between(upper: Sequence[int], lower: Sequence[int], below: _Neighbours) -> int:
    place = {slot: at for at, slot in enumerate(lower)}
    seen: list[int] = []
    crossings = 0
    for slot in upper:
        ends = sorted(place[other] for other in below.get(slot, ()))
        crossings += sum(len(seen) - bisect_right(seen, end) for end in ends)
        for end in ends:
            insort(seen, end)
    return crossings
