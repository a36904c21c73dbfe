"""Runs from a file: what a line is, what the output remembers, what is tried again."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fleet import StartEvent, StopEvent, Workflow, step
from fleet.cli import main
from fleet.client.handler import WorkflowHandler
from fleet.control.bulk import calls, output
from fleet.control.bulk import input as bulk_input
from fleet.control.bulk.calls import Batch, BatchProgress, NobodyAnswers
from fleet.control.bulk.input import InputRefused, Item
from fleet.control.bulk.output import Failure, OutputRefused, OutputTaken
from fleet.kafka.transport import LogUnreadable
from fleet.workflow.errors import RunUnheard, WorkflowRuntimeError


class Order(StartEvent):
    """Declares its fields."""

    name: str
    count: int = 1


class Ordering(Workflow):
    """Fails where it is told to."""

    @step
    async def take(self, ev: Order) -> StopEvent:
        if ev.name == "bad":
            raise LookupError("not on\nthe list")
        if ev.name == "slow":
            await asyncio.sleep(60)
        return StopEvent(result=f"{ev.count} {ev.name}")


class Numbered(StartEvent):
    """Declares a field that is called id."""

    id: int


class Numbering(Workflow):
    """Wants the id."""

    @step
    async def take(self, ev: Numbered) -> StopEvent:
        return StopEvent(result=ev.id)


def written(path: Path, *lines: object) -> Path:
    """Write lines, each as it is or as JSON."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n")
    return path


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "items.jsonl"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def items(source: Path, workflow: type[Workflow] = Ordering) -> list[Item]:
    return list(bulk_input.items(source, workflow))


def run_ids(source: Path, workflow: type[Workflow] = Ordering) -> list[str]:
    return [item.run_id(None, 1) for item in items(source, workflow)]


# -- input ----------------------------------------------------------------------------------------


def test_a_line_is_a_start_event_and_an_id(source: Path) -> None:
    """The id is no field; blank lines and a byte order mark count for nothing."""
    source.write_bytes(b'\xef\xbb\xbf{"name": "cats", "id": 7}\n\n{"name": "dogs", "id": "x"}\r\n')
    found = items(source)
    assert [(item.line, item.id, item.event) for item in found] == [
        (1, 7, Order(name="cats")),
        (3, "x", Order(name="dogs")),
    ]
    assert bulk_input.check(source, Ordering) == {"7", "x"}


def test_a_start_event_that_declares_an_id_gets_it(source: Path) -> None:
    """It names the item, too."""
    (item,) = items(written(source, {"id": 7}), Numbering)
    assert (item.id, item.event) == (7, Numbered(id=7))


def test_run_ids_are_the_same_wherever_a_line_stands(source: Path) -> None:
    """And however its fields are ordered; equal lines are items of their own."""
    cats, dogs = {"name": "cats", "count": 2}, {"name": "dogs", "id": "d"}
    before = run_ids(written(source, cats, dogs, cats))
    turned = {"count": 2, "name": "cats"}
    assert run_ids(written(source, {"name": "new"}, "", turned, turned, dogs))[1:] == [
        before[0],
        before[2],
        before[1],
    ]
    assert len(set(before)) == 3


def test_a_run_id_has_the_fields_in_it(source: Path) -> None:
    """So that the ids 1, 2, 3 of two files do not mean the same runs."""
    first = run_ids(written(source, {"id": 1, "name": "cats"}))
    second = run_ids(written(source, {"id": 1, "name": "dogs"}))
    assert first != second
    assert first[0].startswith("1-")


def test_a_name_and_an_attempt_make_other_runs(source: Path) -> None:
    """The name comes first, the attempt last."""
    (item,) = items(written(source, {"id": 1, "name": "cats"}))
    plain = item.run_id(None, 1)
    assert item.run_id("monday", 1) == f"monday-{plain}"
    assert item.run_id(None, 2) == f"{plain}#2"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 2: not JSON: "),
        ("[1]", "line 2: a JSON list and not an object"),
        ('{"name": NaN}', "line 2: not JSON: JSON has no NaN"),
        ('{"count": 1}', "line 2: Ordering cannot start: name: Field required"),
        ('{"name": "x", "sise": 1}', "line 2: Ordering takes no sise"),
        ('{"name": "x", "id": true}', "line 2: its id True is neither text nor a whole number"),
        ('{"name": "x", "id": ""}', "line 2: its id '' cannot be part of a run's id"),
        ('{"name": "x", "id": "\\ud800"}', "line 2: its id '\\ud800' cannot be part"),
        ('{"name": "\\ud800"}', "line 2: "),
        ('{"name": "x", "id": "1"}', "line 2: its id '1' is that of line 1"),
    ],
)
def test_a_bad_line_is_named(source: Path, line: str, reason: str) -> None:
    """With its number and what is wrong; nothing is started then."""
    written(source, {"name": "cats", "id": 1}, line)
    with pytest.raises(InputRefused) as caught:
        bulk_input.check(source, Ordering)
    assert reason in str(caught.value)
    assert caught.value.exit_code == 2


def test_of_many_bad_lines_some_are_listed(source: Path) -> None:
    """And the rest counted."""
    written(source, *(["no"] * 50))
    with pytest.raises(InputRefused) as caught:
        bulk_input.check(source, Ordering)
    sentence = str(caught.value)
    assert sentence.startswith("50 bad lines in ")
    assert sentence.endswith("and 30 more")
    assert sentence.count("not JSON") == 20


# -- output ---------------------------------------------------------------------------------------


def item(key: str = "a") -> Item:
    return Item(1, key, Order(name="cats"), "00")


def test_the_output_remembers_results_and_ended_runs(target: Path) -> None:
    """A run that was not heard of counts for nothing: the same one is asked for again."""
    for ended in (True, False, True):
        with output.opened(target) as results:
            results.append_failure(item(), "r", Failure("LookupError", "no", ended=ended))
    with output.opened(target) as results:
        results.append_result(item("b"), "r", None)
    with output.opened(target) as results:
        assert results.done == {"b"}
        assert results.next_attempt(item()) == 3
        assert results.next_attempt(item("c")) == 1


def whole(target: Path) -> bytes:
    with output.opened(target) as results:
        results.append_result(item("a"), "r", "ä\ud800")
        results.append_result(item("b"), "r", {"text": "line\nbreak"})
    return target.read_bytes()


def test_a_torn_last_line_is_removed(target: Path) -> None:
    """Wherever the kill cut it; what is before it stays, and the next line is a line."""
    lines = whole(target).splitlines(keepends=True)
    for cut in range(len(lines[1]) - 1):
        target.write_bytes(lines[0] + lines[1][:cut])
        with output.opened(target) as results:
            assert results.done == {"a"}
            results.append_result(item("c"), "r", 1)
        assert [each["id"] for each in read(target)] == ["a", "c"]


def test_a_last_line_that_only_lacks_its_end_is_kept(target: Path) -> None:
    """As an editor may leave it."""
    target.write_bytes(whole(target).removesuffix(b"\n"))
    with output.opened(target) as results:
        assert results.done == {"a", "b"}
        results.append_result(item("c"), "r", 1)
    assert [each["id"] for each in read(target)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "text",
    ['{"name": "cats"}\n', "hello", '{"id": 1}\n', '{"id": 1, "error": 1}', "1\n", '{"id": \n{}'],
)
def test_a_file_of_something_else_is_left_alone(target: Path, text: str) -> None:
    """For example the input, by mistake."""
    target.write_text(text)
    with pytest.raises(OutputRefused, match="line 1 is no result"), output.opened(target):
        pass
    assert target.read_text() == text


def test_an_output_has_one_writer(target: Path) -> None:
    """The second one is refused, and may come when the first has gone."""
    with output.opened(target), pytest.raises(OutputTaken), output.opened(target):
        pass
    with output.opened(target) as results:
        assert results.done == set()


@pytest.mark.parametrize(
    ("path", "reason"), [("no/x", "No such file"), ("/dev/null", "no regular file")]
)
def test_an_output_that_cannot_be_opened_is_told(tmp_path: Path, path: str, reason: str) -> None:
    """With the reason of the system."""
    with pytest.raises(OutputRefused, match=reason), output.opened(tmp_path / path):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_told() -> None:
    """The command ends there: results that cannot be kept are not worth computing."""
    with Path("/dev/full").open("ab", buffering=0) as full:
        results = output.Results(full, Path("x"))
        with pytest.raises(OutputRefused, match="No space left"):
            results.append_result(item(), "r", 1)


# -- work -----------------------------------------------------------------------------------------


class Counted:
    """A workflow in memory that counts the runs it is asked for, and how many go on at once."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        self.asked: Counter[str] = Counter()
        self.most = self._now = 0

    def run(self, start_event: Any, /, *, run_id: str) -> WorkflowHandler[Any]:
        self.asked[run_id] += 1
        self._now += 1
        self.most = max(self.most, self._now)
        handler = self.workflow.run(start_event, run_id=run_id)
        handler.add_done_callback(self._ended)
        return handler

    def _ended(self, _: object) -> None:
        self._now -= 1


async def worked(
    source: Path, target: Path, flow: calls.Flow, concurrency: int = 4
) -> BatchProgress:
    """One call of the command, with the runs in memory."""
    progress = BatchProgress()
    batch = Batch(Ordering, source, target, concurrency, None)
    with output.opened(target) as results:
        await calls.Work(batch, results, progress, flow).all()
    return progress


async def test_each_item_gets_its_own_result(source: Path, target: Path) -> None:
    """One run each, no more than asked for at a time."""
    written(source, *({"name": f"n{number}", "id": number} for number in range(50)))
    flow = Counted(Ordering())

    progress = await worked(source, target, flow)

    assert {each["id"]: each["result"] for each in read(target)} == {
        number: f"1 n{number}" for number in range(50)
    }
    assert set(flow.asked.values()) == {1}
    assert flow.most == 4
    assert (progress.finished, progress.failed) == (50, 0)


async def test_a_second_call_does_what_is_left(source: Path, target: Path) -> None:
    """Items with a result are not asked for; failed ones are, as another run."""
    written(source, {"name": "cats", "id": "c"}, {"name": "bad", "id": "b"})
    flow = Counted(Ordering())

    first = await worked(source, target, flow)
    second = await worked(source, target, flow)

    (ordinary, failed) = run_ids(source)
    assert flow.asked == {ordinary: 1, failed: 2, f"{failed}#2": 1}
    assert (first.failed, second.failed, second.finished) == (1, 1, 0)
    assert [(each["id"], "error" in each) for each in read(target)] == [
        ("c", False),
        ("b", True),
        ("b", True),
    ]
    error = read(target)[1]["error"]
    assert (error["type"], error["ended"]) == ("LookupError", True)
    assert first.reasons == [f"line 2 (id b): {error['message']}"]
    assert error["message"].startswith("LookupError: not on the list (in step take of run b-")


async def test_a_run_that_timed_out_is_over(source: Path, target: Path) -> None:
    """It says so in the log, so the next try is another run."""
    written(source, {"name": "slow", "id": 1})
    flow = Counted(Ordering(timeout=0.01))
    await worked(source, target, flow)
    assert read(target)[0]["error"]["type"] == "WorkflowTimeoutError"
    await worked(source, target, flow)
    (first,) = run_ids(source)
    assert list(flow.asked) == [first, f"{first}#2"]


class Resumed(Counted):
    """Runs of some ids were resumed since they failed, and have a result."""

    def __init__(self, workflow: Workflow, *run_ids: str) -> None:
        super().__init__(workflow)
        self.resumed = run_ids

    def run(self, start_event: Any, /, *, run_id: str) -> WorkflowHandler[Any]:
        if run_id not in self.resumed:
            return super().run(start_event, run_id=run_id)
        self.asked[run_id] += 1
        handler: WorkflowHandler[Any] = WorkflowHandler(run_id, None, None)  # type: ignore[arg-type]
        handler.was_known = True
        handler.succeed("mended")
        return handler


@pytest.mark.parametrize("resumed", [1, 2])
async def test_a_run_that_was_resumed_is_not_made_again(
    source: Path, target: Path, resumed: int
) -> None:
    """Whichever of an item's failed runs has a result now, it is the item's."""
    written(source, {"name": "bad", "id": "b"})
    flow = Ordering()
    for _ in range(2):
        await worked(source, target, Counted(flow))
    (named,) = items(source)
    again = Resumed(flow, named.run_id(None, resumed))

    progress = await worked(source, target, again)

    assert (progress.finished, progress.failed) == (1, 0)
    assert read(target)[-1]["result"] == "mended"
    assert read(target)[-1]["run_id"] == named.run_id(None, resumed)
    assert named.run_id(None, 3) not in again.asked


class Unserved:
    """Every run ends with the same error."""

    def __init__(self, error: Exception) -> None:
        self.asked: list[str] = []
        self.error = error

    def run(self, start_event: Any, /, *, run_id: str) -> WorkflowHandler[Any]:
        self.asked.append(run_id)
        handler: WorkflowHandler[Any] = WorkflowHandler(run_id, None, None)  # type: ignore[arg-type]
        handler.fail(self.error)
        return handler


async def test_without_workers_it_stops(source: Path, target: Path) -> None:
    """After as many as go on at once; the same runs are asked for the next time."""
    written(source, *({"name": "cats", "id": number} for number in range(100)))
    flow = Unserved(RunUnheard(1, "No worker has taken it up."))
    for _ in range(2):
        with pytest.raises(NobodyAnswers, match="3 runs in a row had no answer"):
            await worked(source, target, flow, concurrency=3)
    # Each lane may have asked for one more by then.
    assert len(flow.asked) <= 2 * (3 + 2)
    assert Counter(flow.asked).most_common(1)[0][1] == 2
    assert set(flow.asked) <= set(run_ids(source)[:5])
    assert all(not each["error"]["ended"] for each in read(target))


async def test_a_log_that_cannot_be_read_ends_the_work_at_once(source: Path, target: Path) -> None:
    """No later run would be heard of; what was started is asked for the next time."""
    written(source, *({"name": "cats", "id": number} for number in range(9)))
    flow = Unserved(LogUnreadable(OSError("gone")))
    with pytest.raises(NobodyAnswers, match=r"1 run in a row .* the log cannot be read any more"):
        await worked(source, target, flow, concurrency=1)
    assert [each["error"]["ended"] for each in read(target)] == [False]


async def test_a_result_that_cannot_be_read_stops_nobody(source: Path, target: Path) -> None:
    """Its run is over; the next call makes another one."""
    written(source, *({"name": "cats", "id": number} for number in range(9)))
    flow = Unserved(WorkflowRuntimeError("the result is no Order"))
    progress = await worked(source, target, flow, concurrency=1)
    assert progress.failed == 9
    assert all(each["error"]["ended"] for each in read(target))


# -- command --------------------------------------------------------------------------------------


def fleet(*arguments: str) -> Result:
    """Run the command, with a broker that nobody has."""
    return CliRunner().invoke(
        main.main, ["run", f"{__name__}:Ordering", "--broker", "kafka://127.0.0.1:1", *arguments]
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--input", "{source}"], "--input and --output go together"),
        (["--output", "json"], "For the form of a single result, use -o"),
        (["--input", "{source}", "--output", "{target}", "name=x"], "leave out name=x"),
        (["--input", "nowhere.jsonl", "--output", "{target}"], "'nowhere.jsonl' does not exist"),
        (["--input", "{source}", "--output", "{target}", "--concurrency", "0"], "0 is not in"),
        (["--input", "{source}", "--output", "{target}"], "1 bad line in"),
        (["--input", "{source}", "--output", "{source}"], "1 bad line in"),
    ],
)
def test_a_wrong_use_starts_nothing(
    source: Path, target: Path, arguments: list[str], sentence: str
) -> None:
    """Exit code 2, a sentence, and no output file."""
    written(source, "no")
    result = fleet(*(each.format(source=source, target=target) for each in arguments))
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert not target.exists()
    assert source.read_text() == "no\n"


def test_the_input_is_no_output(source: Path) -> None:
    """It stays as it is."""
    before = written(source, {"name": "cats", "id": 1}).read_text()
    result = fleet("--input", str(source), "--output", str(source))
    assert (result.exit_code, source.read_text()) == (2, before)
    assert "line 1 is no result of a bulk run" in result.stderr


def test_what_is_all_done_needs_no_broker(source: Path, target: Path) -> None:
    """Every item has a result."""
    written(source, {"name": "cats", "id": 1})
    written(target, {"id": 1, "line": 1, "result": "x", "run_id": "r"})
    result = fleet("--input", str(source), "--output", str(target))
    assert result.exit_code == 0
    assert result.stderr == f"1 of 1 items done, 1 of them before: {target}\n"
