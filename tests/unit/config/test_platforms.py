"""Where Fleet runs, and the sentence for everywhere else."""

import subprocess
import sys
import textwrap

import pytest

from fleet.config import platforms
from fleet.config.platforms import UnsupportedPlatform


@pytest.mark.parametrize(
    ("system", "machine"), [("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64")]
)
def test_supported_platforms_pass(system: str, machine: str) -> None:
    """The three that the docs name; WSL2 is a Linux."""
    platforms.check(system, machine)


@pytest.mark.parametrize(
    ("system", "machine", "way_out"),
    [
        ("Windows", "AMD64", "install WSL2"),
        ("Windows", "ARM64", "install WSL2"),
        ("Darwin", "x86_64", "a Python for arm64"),
        ("Linux", "i686", "virtual machine"),
        ("FreeBSD", "amd64", "virtual machine"),
    ],
)
def test_other_platforms_are_refused_with_what_would_do(
    system: str, machine: str, way_out: str
) -> None:
    """One sentence: where it runs, where this is, and what to do."""
    with pytest.raises(UnsupportedPlatform) as refusal:
        platforms.check(system, machine)
    said = str(refusal.value)
    assert said.startswith("Fleet runs on Linux (x86_64 and arm64), on macOS with Apple silicon")
    assert f"this is {system} on {machine};" in said
    assert way_out in said
    assert "\n" not in said


def test_a_system_that_does_not_say_what_it_is_is_refused() -> None:
    """Python returns empty strings there."""
    with pytest.raises(UnsupportedPlatform, match="this is unknown on unknown;"):
        platforms.check("", "")


def on_windows(code: str) -> subprocess.CompletedProcess[str]:
    """Run *code* where Python takes this machine for Windows, which lacks two modules."""
    pretended = """
        import platform, sys
        platform.system = lambda: "Windows"
        platform.machine = lambda: "AMD64"
        sys.modules["fcntl"] = sys.modules["resource"] = None
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(pretended) + code],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "code",
    [
        "from fleet import serve",
        "from fleet import Workflow",
        "import fleet.dev.kafka",
        "from fleet.testing import fail_step",
    ],
)
def test_the_sentence_comes_before_a_missing_module_does(code: str) -> None:
    """On Windows nothing that imports fcntl is reached."""
    ended = on_windows(code)
    assert ended.returncode != 0
    assert "install WSL2" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", [["dev", "up"], ["demo"], ["run", "joke", "topic=cats"]])
def test_commands_that_need_the_platform_say_so(command: list[str]) -> None:
    """One sentence with its address and exit code 1, without a traceback."""
    ended = on_windows(f"from fleet.cli.main import main; main({command!r})")
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: Fleet runs on Linux")
    assert ended.stderr.splitlines()[1:] == ["See docs/reference.md#unsupportedplatform"]


def test_help_is_there_on_every_platform() -> None:
    """Help works on Windows, too."""
    ended = on_windows("from fleet.cli.main import main; main(['--help'])")
    assert ended.returncode == 0
    assert "Commands:" in ended.stdout
