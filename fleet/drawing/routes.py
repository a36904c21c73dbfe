"""
How the arrows of a drawing run: down in curves, back up in lanes of their own.

Every arrow leaves a node at its lower edge and enters one from above, also where it closes a loop:
then it turns below its source, goes up a lane that no node and no other line of those rows touches,
and turns again above its target.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fleet.drawing.layers import Arrow, Layers
from fleet.drawing.places import TRACK, Places, Size

#: Pixels from a lane to the nearest node, bend and other lane.
_CLEARANCE = 17
#: Pixels from a row to the first turn of a loop.
_TURN = 16
#: Pixels from the middle of a node to where its first loop begins or ends, and to the next one.
_PORT, _PORT_GAP = 26, 12
_RADIUS = 8
#: Pixels from the tip of an arrow to where it is widest.
HEAD_HEIGHT = 9


@dataclass(frozen=True, slots=True)
class Route:
    """An arrow as SVG path data; its tip is at (x, y) and points down."""

    arrow: Arrow
    is_loop: bool
    path: str
    x: float
    y: float
    #: Where words on it are: in the middle of its last piece, or of its lane.
    label: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Lane:
    """Where a loop goes up: pixels from the left, and the rows it passes."""

    x: float
    upper: int
    lower: int

    def meets(self, other: "Lane") -> bool:
        """Tell whether both pass a row."""
        return self.upper <= other.lower and other.upper <= self.lower


def lanes(layers: Layers, places: Places, sizes: Sequence[Size]) -> dict[Arrow, Lane]:
    """Return a lane for every loop, short ones first: they get the place next to their nodes."""
    found: dict[Arrow, Lane] = {}
    for arrow in sorted(layers.loops, key=lambda loop: _height(loop, places)):
        source, target = arrow
        lower, upper = places.row_of[source], places.row_of[target]
        taken = [*_boxes(layers.rows[upper : lower + 1], places, sizes)]
        taken += [(lane.x, lane.x) for lane in found.values() if lane.meets(Lane(0, upper, lower))]
        wide = [(left - _CLEARANCE, right + _CLEARANCE) for left, right in taken]
        x = _nearest_free(wide, places.x[source], places.x[target])
        found[arrow] = Lane(x, upper, lower)
    return found


def down(layers: Layers, places: Places, sizes: Sequence[Size]) -> Iterator[Route]:
    """Yield the routes of all arrows that are no loops."""
    for path in layers.paths:
        source, target = path[0], path[-1]
        x, y = places.x[source], _lower(source, places, sizes)
        commands = [f"M{x:.1f} {y:.1f}"]
        for at, slot in pairwise(path):
            end = _upper(slot, places, sizes)
            # Straight from where the tip of an arrow begins.
            bent = end - HEAD_HEIGHT if slot == target else end
            middle = (_lower(at, places, sizes) + bent) / 2
            label = (x + places.x[slot]) / 2, middle
            x = places.x[slot]
            commands.append(
                f"C{places.x[at]:.1f} {middle:.1f} {x:.1f} {middle:.1f} {x:.1f} {bent:.1f}"
            )
            commands.append(f"V{end if slot == target else _lower(slot, places, sizes):.1f}")
        yield Route((source, target), False, "".join(commands), x, end, label)


def back(lanes: dict[Arrow, Lane], places: Places, sizes: Sequence[Size]) -> Iterator[Route]:
    """Yield the routes of the loops."""
    turns = Counter[float]()
    for (source, target), lane in lanes.items():
        leave, enter = places.bottoms[lane.lower], places.tops[lane.upper]
        begin = _port(source, lane, turns[leave], places, sizes)
        end = _port(target, lane, turns[enter], places, sizes)
        first, last = _lower(source, places, sizes), _upper(target, places, sizes)
        below = leave + _TURN + TRACK * turns[leave]
        above = enter - _TURN - TRACK * turns[enter]
        turns.update([leave, enter])
        corners = [(begin, first), (begin, below), (lane.x, below), (lane.x, above), (end, above)]
        path, label = _rounded([*corners, (end, last)]), (lane.x, (below + above) / 2)
        yield Route((source, target), True, path, end, last, label)


def _height(loop: Arrow, places: Places) -> int:
    source, target = loop
    return places.row_of[source] - places.row_of[target]


def _boxes(
    rows: Sequence[Sequence[int]], places: Places, sizes: Sequence[Size]
) -> Iterator[tuple[float, float]]:
    """Yield from where to where the nodes and bends of *rows* reach."""
    for slot in (slot for row in rows for slot in row):
        half = sizes[slot].width / 2 if slot < len(sizes) else 0
        yield places.x[slot] - half, places.x[slot] + half


def _nearest_free(taken: Iterable[tuple[float, float]], *ends: float) -> float:
    """Return the place outside of all that is *taken* with the least way to *ends*."""
    merged: list[tuple[float, float]] = []
    for left, right in sorted(taken):
        if merged and left <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(right, merged[-1][1]))
        else:
            merged.append((left, right))
    edges = [edge for interval in merged for edge in interval]
    return min(edges, key=lambda edge: sum(abs(edge - end) for end in ends))


def _port(slot: int, lane: Lane, before: int, places: Places, sizes: Sequence[Size]) -> float:
    """Return where a loop begins or ends at a node: beside its middle, towards the lane."""
    away = min(_PORT + _PORT_GAP * before, sizes[slot].width * 0.4)
    return places.x[slot] + (away if lane.x > places.x[slot] else -away)


def _upper(slot: int, places: Places, sizes: Sequence[Size]) -> float:
    """Return where a line enters *slot*: a node's upper edge, or its row's for a bend."""
    if slot < len(sizes):
        return places.y(slot) - sizes[slot].height / 2
    return places.tops[places.row_of[slot]]


def _lower(slot: int, places: Places, sizes: Sequence[Size]) -> float:
    if slot < len(sizes):
        return places.y(slot) + sizes[slot].height / 2
    return places.bottoms[places.row_of[slot]]


def _rounded(corners: Sequence[tuple[float, float]]) -> str:
    """Return the path along *corners*, rounded; each piece is horizontal or vertical."""
    commands = ["M{:.1f} {:.1f}".format(*corners[0])]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        enter, leave = _towards(corner, before), _towards(corner, after)
        commands.append(
            "L{:.1f} {:.1f}Q{:.1f} {:.1f} {:.1f} {:.1f}".format(*enter, *corner, *leave)
        )
    return "".join([*commands, "L{:.1f} {:.1f}".format(*corners[-1])])


def _towards(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Return the point at most a radius from *corner* on the way to *other*."""
    (x, y), (far_x, far_y) = corner, other
    length = abs(far_x - x) + abs(far_y - y)
    part = min(_RADIUS, length / 2) / length if length else 0
    return x + (far_x - x) * part, y + (far_y - y) * part
