"""
A package of workflows, written from the files in `package_template`.

They are the real files with three words left open, so you can read there what a newcomer gets.
`.template` keeps our own tools from taking them for our code.
"""

import importlib.util
import keyword
import re
import sys
from importlib import metadata
from pathlib import Path
from string import Template

from fleet.records.errors import ExitCode, FleetError

_TEMPLATE = Path(__file__).with_name("package_template")
_SUFFIX = ".template"
#: The folder of the template that becomes the package.
_PACKAGE = "NAME"

#: Names of the files around the package, or of folders that its tools make.
_RESERVED = frozenset({"build", "conftest", "dist", "test", "tests", "wheels"})
#: What a folder may hold and still count as empty: a new repository.
_IGNORED = frozenset({".git"})

# Stricter than Python: a folder may not tell A from a, and an index wants a letter or a digit at
# both ends.
_NAME = re.compile(r"[a-z]([a-z0-9_]*[a-z0-9])?")


class BadPackageName(FleetError):
    """Raised when a name cannot be that of a Python package.

    What to do: Use the letters a to z, digits and `_`; begin with a letter.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, name: str) -> None:
        near = _nearest(name)
        super().__init__(
            f"{name!r} cannot be the name of a package: it takes the letters a to z, digits and "
            "'_', begins with a letter and ends with a letter or digit"
            + (f"; for example {near}" if near else "; choose another")
        )


class PackageNameTaken(FleetError):
    """Raised when a name already means something else.

    What to do: Choose another name.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, name: str, owner: str) -> None:
        super().__init__(f"the name {name} is taken: it is {owner}; choose another")


class FolderTaken(FleetError):
    """Raised when the folder for a package holds other files.

    What to do: Name a folder that is new or empty with `--into`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, folder: Path, evidence: str) -> None:
        super().__init__(
            f"{folder} {evidence}, and nothing is overwritten; "
            "name a folder that is new or empty with --into"
        )


class PackageNotWritten(FleetError):
    """Raised when the files of a package cannot be written.

    What to do: Name another folder with `--into`.
    """

    def __init__(self, folder: Path, failure: OSError) -> None:
        super().__init__(
            f"the package cannot be written to {folder}: {failure.strerror}; name another folder "
            "with --into"
        )


def check_name(name: str) -> None:
    """Raise BadPackageName or PackageNameTaken if *name* is no good name for a package."""
    if not _NAME.fullmatch(name):
        raise BadPackageName(name)
    owner = _owner(name)
    if owner:
        raise PackageNameTaken(name, owner)


def write(name: str, folder: Path) -> list[Path]:
    """Write the package *name* into *folder*, which is new or empty; return its files, sorted.

    Raises BadPackageName, PackageNameTaken, FolderTaken and PackageNotWritten.
    """
    check_name(name)
    try:
        _check_empty(folder)
        return [_written(source, name, folder) for source in _sources()]
    except OSError as failure:
        raise PackageNotWritten(folder, failure) from None


def _nearest(name: str) -> str | None:
    near = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return near if _NAME.fullmatch(near) and not _owner(near) else None


def _owner(name: str) -> str | None:
    """Say what the name already means, or None if it is free."""
    if keyword.iskeyword(name):
        return "a word of the Python language"
    if name in sys.stdlib_module_names:
        return "a module of Python"
    if name in _RESERVED:
        return "a folder or file beside a package, or one that its tools make"
    if _is_installed(name):
        return "an installed package, which the new one would hide or replace"
    return None


def _is_installed(name: str) -> bool:
    return _is_distribution(name) or _is_module(name)


def _is_distribution(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:
        # It is loaded and does not say from which file: Faust puts another object in its place.
        return True


def _check_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise FolderTaken(folder, "is a file")
    if not folder.exists():
        return
    there = sorted({path.name for path in folder.iterdir()} - _IGNORED)
    if there:
        raise FolderTaken(folder, f"has {there[0]}{' and more' if there[1:] else ''} in it")


def _sources() -> list[Path]:
    return sorted(_TEMPLATE.rglob(f"*{_SUFFIX}"))


def _written(source: Path, name: str, folder: Path) -> Path:
    place = source.relative_to(_TEMPLATE)
    parts = [name if part == _PACKAGE else part for part in place.parts]
    target = folder.joinpath(*parts).with_name(place.name.removesuffix(_SUFFIX))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(Template(source.read_text("utf-8")).substitute(_words(name)), "utf-8")
    return target


def _words(name: str) -> dict[str, str]:
    return {
        "name": name,
        # Without the local part, such as +g1234567: an index knows no such version.
        "version": metadata.version("fleet-workflows").partition("+")[0],
        # The image gets the Python that the tests pass on here.
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
