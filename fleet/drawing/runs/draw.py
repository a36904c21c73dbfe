"""Drawing a run: its workflow with the paths that it took, and the branch that failed."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from fleet.drawing import about as drawing_about
from fleet.drawing import draw as drawing
from fleet.drawing import mermaid, page, picture
from fleet.drawing.marks import Mark, Marks
from fleet.drawing.page import RunPart
from fleet.drawing.picture import Picture
from fleet.drawing.runs import journey as journeys
from fleet.drawing.runs import words
from fleet.drawing.runs.journey import Journey
from fleet.records.exported import workflow_class
from fleet.records.exported.run_export import RunExport
from fleet.workflow.definition import Definition

#: Attempts that the page lists.
_LISTED = 200


def draw_run(
    run: str | os.PathLike[str] | Mapping[str, Any] | RunExport,
    to: str | os.PathLike[str] | None = None,
    *,
    workflow: type[Definition] | None = None,
) -> Path:
    """Draw the way of *run* through its workflow; return the path of the written file.

    *run* is a file that `fleet runs export` wrote, or what its JSON says. The drawing is that of
    `draw_workflow`. What the run did not reach is pale, the branch that failed is red, and each
    step has its attempts and times. *to* ends in `.html` or `.mmd`; without it the file is named
    for the workflow and the run. *workflow* is the class; without it the one is imported that the
    export names.

    Raises NotAnExport, UnknownWorkflowClass, UnknownDrawing and UnwritableDrawing.
    """
    export = RunExport.of(run)
    found = workflow or workflow_class.find(export.workflow_class, Definition)
    path = Path(to or _file_name(found, export))
    drawing.write(path, {".html": _html, ".mmd": _mermaid}, journeys.of(export, picture.of(found)))
    return path


def _file_name(workflow: type[Definition], run: RunExport) -> str:
    return f"{workflow.workflow_name}-{re.sub(r'[^A-Za-z0-9_.-]', '_', run.run_id)[:100]}.html"


def _html(journey: Journey) -> str:
    shown = words.labelled(journey)
    told = [
        words.about(journey, node, drawing_about.about(shown, node))
        for node in range(len(shown.nodes))
    ]
    part = RunPart(words.summary(journey), words.error(journey), _timeline(journey))
    return page.html(shown, told, _marks(journey), part)


def _mermaid(journey: Journey) -> str:
    return mermaid.mermaid(words.labelled(journey), _marks(journey))


def _marks(journey: Journey) -> Marks:
    nodes = {node: _node_mark(journey, node) for node in range(len(journey.picture.nodes))}
    arrows = {
        arrow: Mark.BRANCH
        if arrow in journey.failed_arrows
        else Mark.TAKEN
        if journey.taken[arrow]
        else Mark.UNTAKEN
        for arrow in journey.picture.arrows
    }
    return Marks(nodes, arrows)


def _node_mark(journey: Journey, node: int) -> Mark:
    if node in journey.failed:
        return Mark.FAILED if node == journey.broken else Mark.BRANCH
    if node in journey.unfinished:
        return Mark.UNFINISHED
    return Mark.TAKEN if node in journey.reached or node == 0 else Mark.UNTAKEN


def _timeline(journey: Journey) -> Element:
    """Return the attempts as a table, in the order in which they began."""
    section = Element("div", {"class": "timeline"})
    table = SubElement(section, "table")
    head = SubElement(SubElement(table, "thead"), "tr")
    for title in ("at", "step", "attempt", "took", "outcome"):
        SubElement(head, "th", {"scope": "col"}).text = title
    body = SubElement(table, "tbody")
    node_of = _nodes(journey.picture)
    for attempt in journey.attempts[:_LISTED]:
        row = SubElement(body, "tr", {"class": words.outcome(attempt)})
        SubElement(row, "td").text = words.since(attempt.started, journey.began_ms)
        cell = SubElement(row, "th", {"scope": "row"})
        node = node_of.get(attempt.step)
        link = SubElement(cell, "a", {"href": f"#about-n{node}"}) if node is not None else cell
        link.text = attempt.step
        SubElement(row, "td").text = str(attempt.attempt)
        SubElement(row, "td").text = words.duration(attempt.finished - attempt.started)
        SubElement(row, "td").text = words.outcome(attempt)
    if len(journey.attempts) > _LISTED:
        more = SubElement(section, "p", {"class": "remark"})
        more.text = f"and {len(journey.attempts) - _LISTED:,} attempts more"
    return section


def _nodes(shown: Picture) -> dict[str, int]:
    """Return the nodes of the steps, by each of their names."""
    return {
        name: number
        for number, node in enumerate(shown.nodes)
        for name in getattr(node.subject, "names", ())
    }
