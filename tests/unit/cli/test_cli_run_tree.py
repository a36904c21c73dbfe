"""How the runs around a run and inside of it are shown."""

from fleet.cli.views import run as run_shown
from fleet.control.runs.log import Run
from fleet.control.runs.tree import NOT_BEGUN, Node, Tree
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import Cancelled, Lifecycle, Started
from fleet.records.log import Delivered


def run_of(run_id: str, *happenings: Lifecycle) -> Run:
    run = Run(run_id, 0)
    for offset, happening in enumerate(happenings):
        value, at = happening.encode(), 1_000_000 + 1_000 * offset
        record = Delivered("runs", 0, offset, at, run_id.encode(), value, [])
        run.take(record, Envelope(run_id, f"{offset}", happening.kind), happening)
    return run


def a_tree() -> Tree:
    inner = Node("count", "inner")
    middle = run_of(
        "middle", Started(start_event_id="s", parent_workflow="all", parent_run="outer")
    )
    over = run_of("over", Started(start_event_id="s"), Cancelled(reason="its parent has ended"))
    root = Node("digest", "middle", middle, [Node("count", "over", over), inner])
    return Tree([Node("all", "outer", run_of("outer", Started(start_event_id="s")))], root)


def test_each_run_is_a_line_below_the_one_that_awaits_it() -> None:
    rows = run_shown.tree_rows(a_tree())
    assert [row["run"] for row in rows] == ["outer", "└ middle", "  └ over", "  └ inner"]
    assert [row["outcome"] for row in rows] == ["running", "running", "cancelled", NOT_BEGUN]
    assert rows[2]["why"] == "its parent has ended"
    assert rows[2]["seconds"] == "1.0"


def test_json_has_the_runs_inside_of_each_other() -> None:
    shown = run_shown.tree_fields(a_tree())
    assert [node["run"] for node in shown["parents"]] == ["outer"]
    assert [(node["run"], node["outcome"]) for node in shown["children"]] == [
        ("over", "cancelled"),
        ("inner", NOT_BEGUN),
    ]


def test_a_run_knows_its_parent() -> None:
    tree = a_tree()
    assert tree.root.run is not None
    assert run_shown.fields(tree.root.run)["parent"] == "all outer"
    assert not tree.is_alone
    assert Tree([], Node("count", "inner")).is_alone
