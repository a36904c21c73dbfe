"""
Apache Kafka's jars: which ones they are, and that those on disk are exactly these.

`kafka.lock.json` names every jar by its Maven coordinate with its sha256. The maintainer who
writes the lock (`python -m fleet.dev.kafka.jars lock VERSION`) resolves the dependency graph once,
and never on a user's machine: there the named jars are downloaded, through jgo, and compared. The
cache is shared by all data folders; it is compared again at every start, which costs 0.1 s.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.dev import file_lock
from fleet.dev.kafka.java import DevNotInstalled
from fleet.records.errors import FleetError

if TYPE_CHECKING:
    from jgo.maven import MavenContext

LOCK_FILE = Path(__file__).with_name("kafka.lock.json")
#: Concurrent downloads: most jars are small, and round trips take the time.
DOWNLOADS = 8
#: A lock is resolved from these. `!` keeps jgo from reading them as bills of materials: log4j's
#: would pin kafka-clients to the old version that log4j's own tests use. Without the second one
#: the broker logs nothing.
ROOTS = (
    "org.apache.kafka:kafka_2.13:{version}!",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3!",
)


class JarsUnavailable(FleetError):
    """Raised when the jars are not in the cache and cannot be downloaded.

    What to do: Start once with a network; later starts need none. Or copy the cache from another
    machine, or use a broker that you have.
    """

    permanent = False

    def __init__(self, failure: Exception, cache: Path) -> None:
        super().__init__(
            f"the jars of Apache Kafka could not be downloaded: {_root(failure)}. Run this once "
            f"with a network (later starts need none), copy {cache} from a machine that has it, "
            "or use a broker you have: --broker kafka://host:port or FLEET_BROKER"
        )


class JarMismatch(FleetError):
    """Raised when a jar in the cache is not the one that the lock names.

    What to do: Delete the file that the message names, and start again. Fleet ran nothing of it.
    """

    def __init__(self, jar: Path, mismatch: str) -> None:
        super().__init__(
            f"{jar} is not the jar that Fleet was released with: {mismatch}. Nothing of it was "
            "run; delete that file and start again to download it"
        )


class DownloadMismatch(FleetError):
    """Raised when a downloaded jar is not the one that the lock names.

    What to do: Try again. If it repeats, find the proxy or mirror that answers, or use a broker
    that you have.
    """

    permanent = False

    def __init__(self, jar: str, mismatch: str) -> None:
        super().__init__(
            f"{jar} was downloaded and is not the jar that Fleet was released with: {mismatch}. "
            "It was removed; try again, and if this repeats, see which proxy or mirror "
            "answers, or use a broker you have: --broker kafka://host:port or FLEET_BROKER"
        )


class CacheUnusable(FleetError):
    """Raised when the jars cannot be stored.

    What to do: Choose another folder with `XDG_CACHE_HOME`, or use a broker that you have.
    """

    def __init__(self, cache: Path, failure: OSError) -> None:
        super().__init__(
            f"the jars of Apache Kafka cannot be stored in {cache}: {failure.strerror}. "
            "XDG_CACHE_HOME chooses another folder; --broker kafka://host:port needs none"
        )


@dataclass(frozen=True)
class Jar:
    """One jar of the lock."""

    #: `group:artifact:version`
    coordinate: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


@dataclass(frozen=True)
class Lock:
    """The jars of one Kafka version."""

    kafka: str
    jars: tuple[Jar, ...]


def locked(path: Path = LOCK_FILE) -> Lock:
    """Read the committed lock."""
    content = json.loads(path.read_text())
    jars = (Jar(coordinate, sha256) for coordinate, sha256 in content["jars"].items())
    return Lock(content["kafka"], tuple(jars))


def cache_folder() -> Path:
    """The folder of the jars, for all data folders of this user."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "fleet" / "kafka"


def classpath(
    lock: Lock, cache: Path, progress: Callable[[str], object] = lambda _: None
) -> tuple[Path, ...]:
    """Return the jars of *lock*, each one verified; download into *cache* what is missing there.

    Raises JarsUnavailable, JarMismatch, DownloadMismatch, CacheUnusable.
    """
    folder = cache / lock.kafka
    if _missing(lock, folder):
        _fill(lock, cache, progress)
    for jar in lock.jars:
        if mismatch := _mismatch(jar, folder / jar.name):
            raise JarMismatch(folder / jar.name, mismatch)
    return tuple(folder / jar.name for jar in lock.jars)


def _missing(lock: Lock, folder: Path) -> list[Jar]:
    return [jar for jar in lock.jars if not (folder / jar.name).exists()]


def _mismatch(jar: Jar, path: Path) -> str:
    """Say how the file differs from the lock; empty if it does not."""
    found = _sha256(path)
    return "" if found == jar.sha256 else f"its sha256 is {found}, expected {jar.sha256}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fill(lock: Lock, cache: Path, progress: Callable[[str], object]) -> None:
    folder = cache / lock.kafka
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file_lock.held(cache / "lock"), tempfile.TemporaryDirectory(dir=cache) as staging:
            # Again: the last holder of the lock may have filled the cache.
            missing = _missing(lock, folder)
            for done, (jar, path) in enumerate(_downloaded(missing, Path(staging), cache), 1):
                if mismatch := _mismatch(jar, path):
                    raise DownloadMismatch(jar.name, mismatch)
                path.replace(folder / jar.name)
                progress(f"Downloading Apache Kafka {lock.kafka}: {done} of {len(missing)} jars")
    except OSError as failure:
        raise CacheUnusable(cache, failure) from failure


def _downloaded(jars: list[Jar], staging: Path, cache: Path) -> Iterator[tuple[Jar, Path]]:
    """Download the *jars* concurrently; yield each jar when it is there."""
    maven = _maven(staging)
    pool = ThreadPoolExecutor(DOWNLOADS)
    try:
        downloads = {pool.submit(_download, maven, jar.coordinate): jar for jar in jars}
        for download in as_completed(downloads):
            yield downloads[download], download.result()
    # jgo has no error of its own: a RuntimeError is a jar that no repository has, an OSError is
    # the network.
    except (OSError, RuntimeError) as failure:
        raise JarsUnavailable(failure, cache) from failure
    finally:
        # Ctrl-C then waits for a few jars and not for all of them.
        pool.shutdown(cancel_futures=True)


def _maven(folder: Path) -> "MavenContext":
    try:
        # Not at the top: workers and callers have no jgo.
        from jgo.config import GlobalSettings  # noqa: PLC0415
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
        from jgo.maven import MavenContext  # noqa: PLC0415
    except ImportError as failure:
        raise DevNotInstalled(failure) from failure
    # Not into ~/.m2: an interrupted download would stay there as a broken jar. A repository that
    # jgo's own settings file calls `central` takes the place of Maven Central, as a mirror.
    repositories = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    return MavenContext(repo_cache=folder, remote_repos=repositories)


def _download(maven: "MavenContext", coordinate: str) -> Path:
    path: Path = maven.create_dependency(coordinate).artifact.resolve()
    return path


def _root(failure: BaseException) -> str:
    """The first cause in a chain of errors: an HTTP client's own sentence is a paragraph."""
    while failure.__context__ is not None:
        failure = failure.__context__
    return f"{type(failure).__name__}: {failure}"


def resolve(version: str) -> Lock:
    """Resolve the jars of Kafka *version*, download them all and note their sha256."""
    with tempfile.TemporaryDirectory() as folder:
        maven = _maven(Path(folder))
        roots = [maven.create_dependency(root.format(version=version)) for root in ROOTS]
        direct, transitive = maven.resolver.resolve(roots)
        names = sorted(f"{d.groupId}:{d.artifactId}:{d.version}" for d in [*direct, *transitive])
        return Lock(version, tuple(Jar(name, _sha256(_download(maven, name))) for name in names))


def write(lock: Lock, path: Path = LOCK_FILE) -> None:
    """Write the lock to be committed."""
    content = {"kafka": lock.kafka, "jars": {jar.coordinate: jar.sha256 for jar in lock.jars}}
    path.write_text(json.dumps(content, indent=2) + "\n")


def main() -> int:
    """For maintainers: `python -m fleet.dev.kafka.jars lock [VERSION]`."""
    parser = argparse.ArgumentParser(prog="python -m fleet.dev.kafka.jars", description=__doc__)
    lock = parser.add_subparsers(required=True).add_parser("lock", help="write kafka.lock.json")
    lock.add_argument("version", nargs="?", help="of Apache Kafka; without it, the locked one")
    version = parser.parse_args().version or locked().kafka
    resolved = resolve(version)
    write(resolved)
    sys.stdout.write(f"{LOCK_FILE}: Apache Kafka {version}, {len(resolved.jars)} jars\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
