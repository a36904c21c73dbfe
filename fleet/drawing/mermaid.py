"""The drawing as a Mermaid flowchart, for Markdown pages that render it."""

import re
from collections.abc import Iterable

from fleet.drawing.picture import Arrow, Kind, Picture

#: The brackets that give a node its shape.
_SHAPES = {
    Kind.START: ("((", "))"),
    Kind.EVENT: ("([", "])"),
    Kind.RESULT: ("([", "])"),
    Kind.STEP: ("[", "]"),
    Kind.DEAD_END: ("{{", "}}"),
    Kind.DONE: ("(((", ")))"),
    Kind.OUTSIDE: ("[/", "/]"),
}
_FRAMED = (Kind.EVENT, Kind.STEP, Kind.DEAD_END)
_PLAIN = re.compile(r"[^\w .-]")


def mermaid(picture: Picture) -> str:
    """Return *picture* as flowchart text."""
    start = picture.after(0)
    framed = [
        number
        for number, node in enumerate(picture.nodes)
        if node.kind in _FRAMED and number not in start
    ]
    outside = [number for number in range(len(picture.nodes)) if number not in framed]
    group = _label(f"step group {picture.workflow.group_name}")
    lines = [
        "flowchart TD",
        *_nodes(outside, picture, "    "),
        f"    subgraph group[{group}]",
        *_nodes(framed, picture, "        "),
        "    end",
        *(f"    n{arrow[0]} {_line(arrow, picture)} n{arrow[1]}" for arrow in picture.arrows),
    ]
    return "\n".join(lines) + "\n"


def _nodes(numbers: Iterable[int], picture: Picture, indent: str) -> list[str]:
    return [f"{indent}n{number}{_shape(number, picture)}" for number in numbers]


def _shape(number: int, picture: Picture) -> str:
    node = picture.nodes[number]
    opening, closing = _SHAPES[node.kind]
    return f"{opening}{_label(node.name)}{closing}"


def _line(arrow: Arrow, picture: Picture) -> str:
    if arrow in picture.failures:
        return f"-.->|{_label('fails')}|"
    label = picture.labels.get(arrow)
    return "-->" if label is None else f"-->|{_label(label.words)}|"


def _label(words: str) -> str:
    """Quote *words*; letters with a meaning in Mermaid or HTML are written by their number."""
    return f'"{_PLAIN.sub(lambda found: f"#{ord(found[0])};", words)}"'
