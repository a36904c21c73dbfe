"""
Where in pixels the nodes of a drawing stand.

Rows are as high as their highest node; the gap between two rows has room for what runs there.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from fleet.drawing.columns import Distance, columns
from fleet.drawing.layers import Arrow, Layers

#: Pixels between two nodes of a row; less beside a bend, which is a line and no box.
_GAP = 36
_BEND_GAP = 26
#: Pixels between two rows, and for each loop that turns there.
_ROW_GAP = 46
#: Pixels more where words are on an arrow.
_LABEL_GAP = 14
TRACK = 12
#: Beyond this width between the ends of its arrows a gap grows, so that they do not lie flat.
_STEEP_WITHIN = 260
#: Pixels more above and below what the step group's frame is drawn around.
_BORDER = 18


@dataclass(frozen=True, slots=True)
class Size:
    """Pixels."""

    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Places:
    """The middle of every node and bend in pixels, and the rows' upper and lower edges."""

    x: Mapping[int, float]
    row_of: Mapping[int, int]
    tops: tuple[float, ...]
    bottoms: tuple[float, ...]

    def y(self, slot: int) -> float:
        """Return the vertical middle of *slot*."""
        row = self.row_of[slot]
        return (self.tops[row] + self.bottoms[row]) / 2


def place(layers: Layers, sizes: Sequence[Size], labelled: Collection[Arrow] = ()) -> Places:
    """Place nodes of *sizes* and the bends between them; the first row is at 0.

    Above the targets of *labelled* arrows is room for words.
    """
    x = columns(layers.rows, layers.links, len(sizes), _distance(sizes))
    row_of = {slot: at for at, row in enumerate(layers.rows) for slot in row}
    heights = [
        max((sizes[slot].height for slot in row if slot < len(sizes)), default=0)
        for row in layers.rows
    ]
    words = {row_of[path[-1]] - 1 for path in layers.paths if (path[0], path[-1]) in labelled}
    gaps = _gaps(layers, x, row_of)
    gaps = [gap + _LABEL_GAP * (row in words) for row, gap in enumerate(gaps)]
    tops = list(accumulate(map(sum, zip(heights, gaps, strict=False)), initial=0.0))
    bottoms = [top + height for top, height in zip(tops, heights, strict=True)]
    return Places(x, row_of, tuple(tops), tuple(bottoms))


def _gaps(layers: Layers, x: Mapping[int, float], row_of: Mapping[int, int]) -> list[float]:
    """Return the pixels under each row but the last."""
    turns = [0] * len(layers.rows)
    for source, target in layers.loops:
        turns[row_of[source]] += 1
        turns[row_of[target] - 1] += 1
    spans = [0.0] * len(layers.rows)
    for upper, lower in layers.links:
        spans[row_of[upper]] = max(spans[row_of[upper]], abs(x[upper] - x[lower]))
    gaps = [
        _ROW_GAP + TRACK * turning + max(0.0, span - _STEEP_WITHIN) / 8
        for turning, span in zip(turns, spans, strict=True)
    ][:-1]
    gaps[1] += _BORDER
    gaps[-2] += _BORDER
    return gaps


def _distance(sizes: Sequence[Size]) -> Distance:
    count = len(sizes)

    def distance(one: int, other: int) -> float:
        half = sum(sizes[slot].width / 2 for slot in (one, other) if slot < count)
        return half + (_GAP if max(one, other) < count else _BEND_GAP)

    return distance
