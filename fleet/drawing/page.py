"""
The drawing as one HTML page that opens offline.

The page is a template beside this file; what belongs to the workflow is built as elements, so that
names and docstrings stay text. A content security policy lets nothing in but the page's own style
and script, whatever a docstring holds.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template
from xml.etree.ElementTree import Element, SubElement, tostring

from fleet.drawing import about as drawing_about
from fleet.drawing import picture as drawing_picture
from fleet.drawing import svg
from fleet.drawing.about import About, Fact, Field
from fleet.drawing.marks import NONE as NO_MARKS
from fleet.drawing.marks import Marks
from fleet.drawing.picture import Kind, Picture


@dataclass(frozen=True, slots=True)
class RunPart:
    """What the page of a run has more than that of its workflow."""

    #: The run in a line.
    summary: str
    #: What the run failed with; empty if it did not.
    error: str
    #: Its attempts.
    timeline: Element


def html(
    picture: Picture,
    told: Sequence[About] = (),
    marks: Marks = NO_MARKS,
    run: RunPart | None = None,
) -> str:
    """Return the whole page; that of a *run* tells and marks what became of it."""
    told = told or [drawing_about.about(picture, node) for node in range(len(picture.nodes))]
    drawing = svg.lay_out(picture, told)
    style, script = _asset("drawing.css"), _asset("drawing.js")
    return Template(_asset("drawing.html")).substitute(
        title=escape(picture.workflow.__name__),
        summary=escape(_summary(picture)),
        kind="run" if run is not None else "workflow",
        legend=_RUN_LEGEND if run is not None else _LEGEND,
        run=_run(run) if run is not None else "",
        docstring=escape(drawing_picture.told(picture.workflow)),
        policy=f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'",
        style=style,
        script=script,
        drawing=_text(svg.svg(drawing, told, marks)),
        about="\n".join(_text(_about(node, picture, told[node])) for node in drawing.flow),
    )


def _run(run: RunPart) -> str:
    section = Element("div", {"class": "run"})
    _add(section, "h2", run.summary)
    if run.error:
        _add(section, "p", run.error, {"class": "error"})
    section.append(run.timeline)
    return _text(section)


def _legend(entries: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f'<li class="{kind}">{words}</li>' for kind, words in entries)


_SHAPES = (
    ("event", "event"),
    ("result", "result event"),
    ("step", "step"),
    ("bars", "join, fan-out"),
)
_LEGEND = _legend(
    (
        *_SHAPES,
        ("many", "list"),
        ("dead-end", "dead end"),
        ("outside", "outside"),
        ("loop", "loop back"),
        ("fails", "fails, to its handler"),
    )
)
_RUN_LEGEND = _legend(
    (
        *_SHAPES,
        ("failed", "failed"),
        ("branch", "its branch"),
        ("unfinished", "not done"),
        ("untaken", "not reached"),
    )
)


def _asset(name: str) -> str:
    return resources.files("fleet.drawing").joinpath(name).read_text("utf-8")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _text(element: Element) -> str:
    return tostring(element, encoding="unicode", method="html")


def _summary(picture: Picture) -> str:
    workflow = picture.workflow
    kinds = [node.kind for node in picture.nodes]
    steps, events = kinds.count(Kind.STEP), kinds.count(Kind.EVENT) + kinds.count(Kind.RESULT)
    counts = f"{_counted(steps, 'step')}, {_counted(events, 'event type')}"
    return f"workflow {workflow.workflow_name} · group {workflow.group_name} · {counts}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _about(number: int, picture: Picture, about: About) -> Element:
    node = picture.nodes[number]
    section = Element("section", {"id": f"about-n{number}", "class": f"about {node.kind}"})
    if about.what != node.name:
        _add(section, "p", about.what, {"class": "what"})
    _add(section, "h2", node.name)
    if about.docstring:
        _add(section, "p", about.docstring, {"class": "docstring"})
    if about.fields is not None:
        _add_fields(section, about.fields, takes_any=about.takes_any)
    facts = SubElement(section, "dl")
    for fact in about.facts:
        if fact.words or fact.nodes:
            _add_fact(facts, fact, picture)
    return section


def _add_fact(parent: Element, fact: Fact, picture: Picture) -> None:
    _add(parent, "dt", fact.name)
    value = SubElement(parent, "dd")
    for node in fact.nodes:
        _add(value, "a", picture.nodes[node].name, {"href": f"#about-n{node}"}).tail = " "
    if fact.words:
        _add(value, "span", fact.words)


def _add_fields(parent: Element, fields: Sequence[Field], *, takes_any: bool) -> None:
    if fields:
        table = SubElement(parent, "table")
        head = SubElement(SubElement(table, "thead"), "tr")
        for title in ("field", "type", "default"):
            _add(head, "th", title, {"scope": "col"})
        body = SubElement(table, "tbody")
        for field in fields:
            _add_field(body, field)
    remark = {
        (True, True): "It takes other fields, too.",
        (True, False): "It declares no fields and takes any.",
        (False, False): "It has no fields.",
    }.get((takes_any, bool(fields)))
    if remark:
        _add(parent, "p", remark, {"class": "remark"})


def _add_field(parent: Element, field: Field) -> None:
    row = SubElement(parent, "tr")
    name = SubElement(row, "th", {"scope": "row"})
    _add(name, "code", field.name)
    if field.description:
        _add(name, "small", field.description)
    _add(SubElement(row, "td"), "code", field.type)
    _add(SubElement(row, "td"), "span" if field.default == "required" else "code", field.default)


def _add(
    parent: Element, tag: str, words: str, attributes: dict[str, str] | None = None
) -> Element:
    element = SubElement(parent, tag, attributes or {})
    element.text = words
    return element
