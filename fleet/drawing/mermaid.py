"""The drawing as a Mermaid flowchart, for Markdown pages that render it."""

import re
from collections.abc import Iterable, Iterator

from fleet.drawing.marks import NONE as NO_MARKS
from fleet.drawing.marks import Mark, Marks
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
#: How marked nodes and arrows look.
_STYLES = {
    Mark.BRANCH: ("stroke:#c62828", "stroke:#c62828,stroke-width:3px"),
    Mark.FAILED: ("stroke:#c62828,stroke-width:4px,fill:#fdecec,color:#6e1010", ""),
    Mark.UNFINISHED: ("stroke:#b3540c,stroke-dasharray:4 3", "stroke:#b3540c"),
    Mark.UNTAKEN: ("opacity:0.35", "opacity:0.3"),
}
_FRAMED = (Kind.EVENT, Kind.STEP, Kind.DEAD_END)
_PLAIN = re.compile(r"[^\w .-]")


def mermaid(picture: Picture, marks: Marks = NO_MARKS) -> str:
    """Return *picture* as flowchart text, with the colours of *marks*."""
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
        *_styles(picture, marks),
    ]
    return "\n".join(lines) + "\n"


def _styles(picture: Picture, marks: Marks) -> Iterator[str]:
    for mark, (node, line) in _STYLES.items():
        nodes = [f"n{number}" for number, found in marks.nodes.items() if found is mark]
        if nodes:
            yield f"    classDef {mark} {node}"
            yield f"    class {','.join(nodes)} {mark}"
        arrows = enumerate(picture.arrows)
        lines = [str(place) for place, arrow in arrows if marks.arrows.get(arrow) is mark]
        if lines:
            yield f"    linkStyle {','.join(lines)} {line}"


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
