"""`fleet demo` without its processes: what it takes, what it notes, how it is interrupted."""

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from fleet.cli import main
from fleet.cli.demos import parts as demo_parts
from fleet.cli.demos.folder import DemoFolder, DemoFolderUnusable, DemoRunning, Part
from fleet.cli.demos.parts import Broker, Model, OtherDemo, Parts
from fleet.cli.demos.play import DemoFailed
from fleet.cli.demos.run import WorkerDied
from fleet.cli.views.screen import Screen
from fleet.config.settings import Settings
from fleet.control.interruption import Interrupted, Interruption
from fleet.dev import processes

NAMED = Broker("kafka://somewhere:9092", "named")


@pytest.fixture
def folder(tmp_path: Path) -> DemoFolder:
    """A folder of a demo that is there."""
    folder = DemoFolder(tmp_path / "demo")
    folder.path.mkdir()
    return folder


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Part]:
    """A process that runs, as a part of a demo."""
    started = processes.spawn(["/bin/sleep", "60"], output=tmp_path / "sleeper.log", environment={})
    yield Part(started.pid, started.birth, "http://127.0.0.1:1/v1", "cats")
    started.kill()


def parts(folder: DemoFolder, **given: str) -> Parts:
    """Return the parts of a demo with these settings."""
    return Parts(folder, Settings.model_validate({"data_dir": folder.path.parent, **given}))


@pytest.fixture(autouse=True)
def _no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "FLEET_BROKER"):
        monkeypatch.delenv(name, raising=False)


def test_a_noted_part_is_found_while_it_runs(folder: DemoFolder, sleeper: Part) -> None:
    """By another command, too."""
    folder.remember("worker", sleeper)
    assert DemoFolder(folder.path).part("worker") == sleeper
    sleeper.process.kill()
    assert folder.part("worker") is None


@pytest.mark.parametrize("note", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_note_is_no_part(note: str, folder: DemoFolder) -> None:
    """It names no process that could be ended."""
    (folder.path / "worker.json").write_text(note)
    assert folder.part("worker") is None


def test_a_pid_that_went_to_another_process_is_no_part(folder: DemoFolder, sleeper: Part) -> None:
    """After a reboot, `--stop` must not end a stranger."""
    folder.remember("worker", Part(sleeper.pid, "another birth", sleeper.url))
    assert demo_parts.stop_all(folder) == []
    assert sleeper.process.is_alive()


def test_all_that_runs_is_ended_whoever_started_it(folder: DemoFolder, sleeper: Part) -> None:
    """Even when the demo that started it was killed."""
    folder.remember(demo_parts.WORKER, sleeper)
    assert demo_parts.stop_all(folder) == [f"worker (process {sleeper.pid})"]
    assert not sleeper.process.is_alive()


def test_two_demos_do_not_share_a_folder(folder: DemoFolder) -> None:
    """The second is told at once; when the first has ended there is no trace of it."""
    with folder.held(), pytest.raises(DemoRunning, match="another `fleet demo` is at work"):
        DemoFolder(folder.path).held().__enter__()
    with folder.held():
        pass


def test_a_demo_that_removes_its_folder_makes_way_for_the_next(folder: DemoFolder) -> None:
    """What the first one held is gone, so the second holds what it made itself."""
    with folder.held():
        folder.remove()
        with DemoFolder(folder.path).held(), pytest.raises(DemoRunning):
            DemoFolder(folder.path).held().__enter__()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    """With the setting that chooses another one."""
    (tmp_path / "file").touch()
    with pytest.raises(DemoFolderUnusable, match="FLEET_DATA_DIR"):
        DemoFolder(tmp_path / "file" / "demo").held().__enter__()


def test_a_named_broker_is_used(folder: DemoFolder) -> None:
    """Nothing is started beside it, and nothing of it is ended."""
    found = parts(folder, broker=NAMED.address).broker(keep=False, progress=print)
    assert (found.address, found.passing) == (NAMED.address, False)


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "OPENAI_BASE_URL"])
def test_a_named_model_is_used(
    variable: str, folder: DemoFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker finds it in its environment, as ever."""
    monkeypatch.setenv(variable, "something")
    assert parts(folder).model().environment == {}


def test_a_model_that_was_left_running_is_used(folder: DemoFolder, sleeper: Part) -> None:
    """Without a key, and without another process."""
    folder.remember(demo_parts.MODEL, sleeper)
    model = parts(folder).model()
    assert model.environment["OPENAI_BASE_URL"] == sleeper.url


def test_a_worker_that_was_left_running_is_used_for_the_same(
    folder: DemoFolder, sleeper: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same broker, prefix and model; for anything else it is refused, and runs on."""
    wanted = parts(folder)
    monkeypatch.setattr(
        wanted, "_start_worker", lambda *_: pytest.fail("a second worker was started")
    )
    purpose = f"{NAMED.address}, prefix fleet and the model at http://m/v1"
    left = Part(sleeper.pid, sleeper.birth, sleeper.url, purpose)
    folder.remember(demo_parts.WORKER, left)

    assert wanted.worker(NAMED, Model("http://m/v1")) == left
    for broker, model in (
        (Broker("kafka://elsewhere:1", "named"), Model("http://m/v1")),
        (NAMED, Model(None)),
    ):
        with pytest.raises(OtherDemo, match="fleet demo --stop"):
            wanted.worker(broker, model)
    assert sleeper.process.is_alive()
    wanted.stop()
    assert sleeper.process.is_alive()


def test_files_that_settings_name_are_found_from_the_workers_folder(
    folder: DemoFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It runs elsewhere, so a relative path would lead it astray."""
    monkeypatch.chdir(tmp_path)
    environment = parts(folder, security_ca_file="ca.pem")._environment(NAMED, Model(None))
    assert environment["FLEET_SECURITY_CA_FILE"] == str(tmp_path / "ca.pem")
    assert environment["FLEET_BROKER"] == NAMED.address
    assert Path(environment["FLEET_DATA_DIR"]).is_relative_to(folder.path)


def test_a_failure_shows_the_last_that_the_worker_said(folder: DemoFolder) -> None:
    """The reason first, then its log's end, and where all of it is."""
    folder.log("worker").write_text("".join(f"line {number}\n" for number in range(100)))
    sentence = str(DemoFailed(WorkerDied(7), folder))
    assert sentence.startswith("the worker (process 7) ended before the run did")
    assert sentence.endswith("\n  line 98\n  line 99")
    assert "line 84" not in sentence
    assert str(folder.log("worker")) in sentence


async def test_a_signal_is_a_fact_to_ask_for(capsys: pytest.CaptureFixture[str]) -> None:
    """It breaks nothing where it comes; the next check, or the next stage, raises it."""
    interruption = Interruption()
    interruption.check()
    interruption.checked(print)("a stage")
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.wait_for(interruption.wait(), timeout=10)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0)

    with pytest.raises(Interrupted) as caught:
        interruption.check()
    with pytest.raises(Interrupted):
        interruption.checked(print)("the next stage")
    assert caught.value.exit_code == 130
    assert capsys.readouterr().out == "a stage\n"


def test_stages_are_lines_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    """One per stage, however often it counts on; the result is alone on stdout."""
    with Screen() as screen:
        for number in range(3):
            screen.stage(f"Downloading: {number} of 3")
        screen.line("[not markup]")
        screen.result("the result")
    shown = capsys.readouterr()
    assert shown.out == "the result\n"
    assert shown.err == "Downloading: 0 of 3\n[not markup]\n"


def test_a_result_goes_to_stdout_while_a_stage_moves(capsys: pytest.CaptureFixture[str]) -> None:
    """In a terminal, where rich would take it along."""
    terminal = io.StringIO()
    with Screen(Console(file=terminal, force_terminal=True)) as screen:
        screen.stage("at [work]")
        screen.result("the result")
    assert capsys.readouterr().out == "the result\n"
    assert "at [work]" in terminal.getvalue()


def test_keep_and_stop_together_are_refused() -> None:
    """Nothing is started or ended."""
    result = CliRunner().invoke(main.main, ["demo", "--keep", "--stop"])
    assert result.exit_code == 2
    assert "give one of them" in result.stderr


def test_nothing_to_stop_is_no_failure(tmp_path: Path) -> None:
    """A script may end what may not be there."""
    result = CliRunner().invoke(
        main.main, ["demo", "--stop"], env={"FLEET_DATA_DIR": str(tmp_path / "data")}
    )
    assert (result.exit_code, result.stdout) == (0, "")
    assert "No demo was running." in result.stderr


def test_a_named_broker_that_is_down_starts_nothing(tmp_path: Path) -> None:
    """It is asked first; nothing is left behind."""
    done = subprocess.run(
        [Path(sys.executable).with_name("fleet"), "demo", "--broker", "kafka://127.0.0.1:1"],
        capture_output=True,
        text=True,
        env={**os.environ, "FLEET_DATA_DIR": str(tmp_path / "data")},
        check=False,
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert "no Kafka broker answers at 127.0.0.1:1" in done.stderr
    assert not list((tmp_path / "data").iterdir())
