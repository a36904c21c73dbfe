"""
Where Fleet runs, and the sentence that any other platform gets.

The check runs when the runtime or the development tools are imported, not when a worker starts:
both need modules that Windows lacks, so their import would fail first, and with less help.
"""

import platform

from fleet.records.errors import FleetError

#: Operating system and machine, as Python's `platform` names them. WSL2 is a Linux.
SUPPORTED = (("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64"))


class UnsupportedPlatform(FleetError):
    """Raised when you start Fleet on a platform that it does not run on.

    What to do: Use Linux, macOS with Apple silicon, or WSL2 on Windows.
    """

    def __init__(self, system: str, machine: str) -> None:
        super().__init__(
            f"Fleet runs on Linux (x86_64 and arm64), on macOS with Apple silicon, and on Windows "
            f"through WSL2; this is {system or 'unknown'} on {machine or 'unknown'}; "
            f"{_way_out(system, machine)}"
        )


def check(system: str, machine: str) -> None:
    """Raise UnsupportedPlatform unless *system* on *machine* is one of SUPPORTED."""
    if (system, machine) not in SUPPORTED:
        raise UnsupportedPlatform(system, machine)


def check_here() -> None:
    """Check the machine that this process runs on."""
    check(platform.system(), platform.machine())


def _way_out(system: str, machine: str) -> str:
    if system == "Windows":
        return "install WSL2 (`wsl --install`) and run the same commands in its terminal"
    if (system, machine) == ("Darwin", "x86_64"):
        # A Python for Intel also runs on Apple silicon, and reports an Intel machine.
        return "on Apple silicon use a Python for arm64; on an Intel Mac, a Linux container"
    return "use one of these, or a virtual machine that runs one"
