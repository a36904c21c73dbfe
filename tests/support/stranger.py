"""
A stranger's machine: a folder, environment variables that name nothing of ours, and a virtual
environment whose dependencies are those of this interpreter, so that nothing is downloaded.
"""

import os
import sys
import sysconfig
from pathlib import Path

#: Variables that describe this checkout, or set Fleet up.
_OURS = ("FLEET_", "OPENAI_", "PYTEST_", "PYTHONPATH", "VIRTUAL_ENV")
#: Makes `pip install` take installed packages alone.
OFFLINE = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this one upside down: no isolation
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
#: Programs of packages that the environment borrows: it has their modules only.
_BORROWED_PROGRAMS = ("faust", "pytest")


def variables() -> dict[str, str]:
    """Return the environment without what is ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


def borrow_dependencies(environment: Path) -> None:
    """Let *environment* see this one's packages, but none that is installed for editing.

    Python reads `.pth` files, which is what such an installation is, in its own folders only.
    """
    paths = sysconfig.get_paths()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    borrowed = environment / "lib" / version / "site-packages" / "borrowed.pth"
    borrowed.write_text(f"{paths['purelib']}\n{paths['platlib']}\n")


def borrow_programs(environment: Path) -> None:
    """Put into *environment* the programs of the packages that it borrows."""
    for name in _BORROWED_PROGRAMS:
        program = environment / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "{environment}/bin/python" -m {name} "$@"\n')
        program.chmod(0o755)
