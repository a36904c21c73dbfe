"""
The picture as SVG: nodes that can be focused in the order of the flow, arrows, the step group.

Built as elements, never as text, so that no name or docstring of a user can become markup.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

from fleet.drawing import layers as drawing_layers
from fleet.drawing import places as drawing_places
from fleet.drawing import routes as drawing_routes
from fleet.drawing.about import About
from fleet.drawing.layers import Layers
from fleet.drawing.marks import NONE as NO_MARKS
from fleet.drawing.marks import Mark, Marks
from fleet.drawing.picture import Kind, Node, Picture
from fleet.drawing.places import TRACK, Places, Size
from fleet.drawing.routes import Route
from fleet.workflow.steps import Step

#: Pixels of one letter of a name and of a remark: 0.6 of the font's size in monospaced fonts.
_NAME_LETTER, _REMARK_LETTER, _LABEL_LETTER = 8.4, 6.9, 7.0
#: Longer names are shortened in their middle; the whole name is in the details.
_LONGEST = 34
_PADDING = 16
_HEIGHTS = {
    Kind.STEP: 42.0,
    Kind.DEAD_END: 26.0,
    Kind.START: 22.0,
    Kind.DONE: 24.0,
    Kind.OUTSIDE: 26.0,
}
_EVENT_HEIGHT, _REMARK_HEIGHT = 34.0, 16.0
#: Pixels around the drawing and between the step group's frame and what is in it.
_MARGIN, _FRAME = 28, 28
#: Pixels around a node for the ring that shows the focus.
_RING = 4
_STEP_RADIUS = 5
#: Pixels of the bar at a step that joins or fans out.
_BAR = 6
#: Rows above and below the frame: start and its event, the results and done.
_BORDER_ROWS = 2
_HEAD = f"l-4.5 {-drawing_routes.HEAD_HEIGHT}h9z"


@dataclass(frozen=True, slots=True)
class Drawing:
    """The picture with a place for everything."""

    picture: Picture
    layers: Layers
    sizes: Sequence[Size]
    places: Places
    routes: Sequence[Route]
    lanes: Sequence[float]

    @property
    def flow(self) -> list[int]:
        """Return the nodes from top to bottom, each row from left to right."""
        count = len(self.picture.nodes)
        return [slot for row in self.layers.rows for slot in row if slot < count]


def lay_out(picture: Picture, told: Sequence[About]) -> Drawing:
    """Place everything; *told* is in the order of the picture's nodes."""
    results = [at for at, node in enumerate(picture.nodes) if node.kind is Kind.RESULT]
    layers = drawing_layers.arrange(len(picture.nodes), picture.arrows, results)
    sizes = [_size(node, about) for node, about in zip(picture.nodes, told, strict=True)]
    places = drawing_places.place(layers, sizes, picture.labels)
    lanes = drawing_routes.lanes(layers, places, sizes)
    down = drawing_routes.down(layers, places, sizes)
    routes = [*down, *drawing_routes.back(lanes, places, sizes)]
    return Drawing(picture, layers, sizes, places, routes, [lane.x for lane in lanes.values()])


def svg(drawing: Drawing, told: Sequence[About], marks: Marks = NO_MARKS) -> Element:
    """Return the SVG element; a node with number 3 has the id `n3` and points to `about-n3`."""
    left, top, right, bottom = _extent(drawing)
    width, height = right - left + 2 * _MARGIN, bottom - top + 2 * _MARGIN
    root = Element(
        "svg",
        {
            "id": "drawing",
            "viewBox": f"{left - _MARGIN:.0f} {top - _MARGIN:.0f} {width:.0f} {height:.0f}",
            "width": f"{width:.0f}",
            "height": f"{height:.0f}",
            "role": "group",
            "aria-labelledby": "title",
        },
    )
    _add_frame(root, drawing)
    _add_arrows(root, drawing, marks)
    nodes = SubElement(root, "g", {"class": "nodes"})
    for node in drawing.flow:
        _mark(_add_node(nodes, node, drawing, told[node]), marks.nodes.get(node))
    return root


def _size(node: Node, about: About) -> Size:
    letters = _columns(shortened(node.name)) * _NAME_LETTER
    width = max(letters, _columns(about.remark) * _REMARK_LETTER) + 2 * _PADDING
    height = _HEIGHTS.get(node.kind, _EVENT_HEIGHT)
    return Size(max(width, 72), height + (_REMARK_HEIGHT if about.remark else 0))


def shortened(name: str) -> str:
    """Return *name*, without its middle if it is too long for a node."""
    if len(name) <= _LONGEST:
        return name
    half = _LONGEST // 2
    return f"{name[:half]}…{name[-half + 1 :]}"


def _columns(text: str) -> int:
    """Return how many letters wide *text* is: Chinese, Japanese and Korean ones take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


_Box = tuple[float, float, float, float]


def _box(slots: Sequence[int], drawing: Drawing) -> _Box:
    """Return left, top, right and bottom of what is around *slots*."""
    x, places = drawing.places.x, drawing.places
    half = [drawing.sizes[slot].width / 2 if slot < len(drawing.sizes) else 0 for slot in slots]
    rows = [places.row_of[slot] for slot in slots]
    return (
        min(x[slot] - width for slot, width in zip(slots, half, strict=True)),
        places.tops[min(rows)],
        max(x[slot] + width for slot, width in zip(slots, half, strict=True)),
        places.bottoms[max(rows)],
    )


def _frame(drawing: Drawing) -> _Box:
    """Return the step group's box: all between the event that starts a run and its results."""
    row_of, rows = drawing.places.row_of, drawing.layers.rows
    framed = range(_BORDER_ROWS, len(rows) - _BORDER_ROWS)
    left, top, right, bottom = _box([slot for at in framed for slot in rows[at]], drawing)
    above = sum(row_of[target] == framed[0] for _, target in drawing.layers.loops)
    below = sum(row_of[source] == framed[-1] for source, _ in drawing.layers.loops)
    # Half of it is free for the label, beside the arrow that comes in.
    middle, label = drawing.places.x[rows[1][0]], _columns(_group(drawing)) * _LABEL_LETTER + 40
    return (
        min([left - _FRAME, middle - label, *(lane - _FRAME for lane in drawing.lanes)]),
        top - _FRAME - TRACK * above,
        max([right + _FRAME, middle + label, *(lane + _FRAME for lane in drawing.lanes)]),
        bottom + _FRAME + TRACK * below,
    )


def _group(drawing: Drawing) -> str:
    return f"step group {drawing.picture.workflow.group_name}"


def _extent(drawing: Drawing) -> _Box:
    left, _, right, _ = _frame(drawing)
    outer = _box([slot for row in drawing.layers.rows for slot in row], drawing)
    return min(left, outer[0]), outer[1], max(right, outer[2]), outer[3]


def _add_frame(parent: Element, drawing: Drawing) -> None:
    left, top, right, bottom = _frame(drawing)
    group = SubElement(parent, "g", {"class": "frame"})
    _rectangle(group, (left, top, right, bottom), 10)
    text = _text(group, left + 16, top, _group(drawing))
    text.set("text-anchor", "start")


def _add_arrows(parent: Element, drawing: Drawing, marks: Marks) -> None:
    arrows = SubElement(parent, "g", {"class": "arrows", "aria-hidden": "true"})
    for route in drawing.routes:
        source, target = route.arrow
        label = drawing.picture.labels.get(route.arrow)
        kinds = ["arrow", "many" * bool(label and label.is_list), "loop" * route.is_loop]
        kinds.append("fails" * (route.arrow in drawing.picture.failures))
        kinds.append(marks.arrows.get(route.arrow, ""))
        ends = {"data-from": f"n{source}", "data-to": f"n{target}"}
        group = SubElement(arrows, "g", {"class": " ".join(filter(None, kinds)), **ends})
        SubElement(group, "path", {"class": "line", "d": route.path})
        SubElement(group, "path", {"class": "head", "d": f"M{route.x:.1f} {route.y:.1f}{_HEAD}"})
        if label is not None:
            _text(group, *route.label, label.words)


def _add_node(parent: Element, number: int, drawing: Drawing, about: About) -> Element:
    node, size = drawing.picture.nodes[number], drawing.sizes[number]
    x, y = drawing.places.x[number], drawing.places.y(number)
    link = SubElement(
        parent,
        "a",
        {
            "id": f"n{number}",
            "class": f"node {node.kind}",
            "href": f"#about-n{number}",
            "aria-label": spoken(number, drawing.picture, about),
            "data-row": str(drawing.places.row_of[number]),
        },
    )
    box = (x - size.width / 2, y - size.height / 2, x + size.width / 2, y + size.height / 2)
    _add_shape(link, node.kind, box)
    _add_bars(link, node, box)
    lift = _REMARK_HEIGHT / 2 if about.remark else 0
    _text(link, x, y - lift, shortened(node.name)).set("class", "name")
    if about.remark:
        _text(link, x, y + lift + 2, about.remark).set("class", "remark")
    return link


def _mark(link: Element, mark: Mark | None) -> None:
    """Let a node look and sound as its mark says."""
    if mark is not None:
        link.set("class", f"{link.get('class')} {mark}")
        if mark.spoken:
            link.set("aria-label", f"{link.get('aria-label')}; {mark.spoken}")


def _add_shape(parent: Element, kind: Kind, box: _Box) -> None:
    left, top, right, bottom = box
    around = (left - _RING, top - _RING, right + _RING, bottom + _RING)
    round_ = _STEP_RADIUS if kind is Kind.STEP else (bottom - top) / 2
    _rectangle(parent, around, round_ + _RING).set("class", "ring")
    if kind in (Kind.DEAD_END, Kind.OUTSIDE):
        cut = (bottom - top) / 2
        shape = f"M{left:.1f} {top + cut:.1f}l{cut} {-cut}H{right - cut:.1f}l{cut} {cut}"
        path = f"{shape}l{-cut} {cut}H{left + cut:.1f}z"
        SubElement(parent, "path", {"class": "shape", "d": path})
    else:
        _rectangle(parent, box, round_).set("class", "shape")


def _add_bars(parent: Element, node: Node, box: _Box) -> None:
    """Add a bar on top of a step that joins, and below one that fans out."""
    if not isinstance(node.subject, Step):
        return
    left, top, right, bottom = box
    sides = [top] * node.subject.is_join + [bottom] * bool(node.subject.fans_out)
    for y in sides:
        bar = (left, y - _BAR / 2, right, y + _BAR / 2)
        _rectangle(parent, bar, _BAR / 2).set("class", "bar")


def _rectangle(parent: Element, box: _Box, radius: float) -> Element:
    left, top, right, bottom = box
    sides = {"x": left, "y": top, "width": right - left, "height": bottom - top, "rx": radius}
    return SubElement(parent, "rect", {name: f"{value:.1f}" for name, value in sides.items()})


def _text(parent: Element, x: float, y: float, words: str) -> Element:
    """Add *words* around the middle (*x*, *y*)."""
    # Not dominant-baseline: printers and viewers of SVG differ about it.
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "dy": "0.35em", "text-anchor": "middle"}
    element = SubElement(parent, "text", place)
    element.text = words
    return element


def spoken(number: int, picture: Picture, about: About) -> str:
    """Return what a screen reader says for a node."""
    node = picture.nodes[number]
    parts = [node.name if about.what == node.name else f"{about.what} {node.name}"]
    parts += (
        f"{fact.name} {', '.join(picture.nodes[other].name for other in fact.nodes)}"
        for fact in about.facts
        if fact.nodes
    )
    return "; ".join([*parts, about.remark] if about.remark else parts)
