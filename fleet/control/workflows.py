"""
Finds a workflow by its name: `module:Class`, or an entry point.

The error for a wrong name lists the right ones. The error for a module that fails to import has the
cause and the line of the user's code, not our stack.
"""

import difflib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TypeGuard

from fleet.records.errors import ExitCode, FleetError
from fleet.workflow.definition import Definition
from fleet.workflow.workflow import Workflow

#: Where packages name their workflows: `joke = "fleet.joke:JokeFlow"`.
ENTRY_POINTS = "fleet.workflows"

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class UnknownWorkflow(FleetError):
    """Raised when a name is neither `module:Class` nor an entry point.

    What to do: Write `module:Class`, or a name that the message lists.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, name: str, known: Mapping[str, str]) -> None:
        near = difflib.get_close_matches(name, known, n=1)
        listed = ", ".join(f"{entry} ({target})" for entry, target in sorted(known.items()))
        super().__init__(
            f"no workflow is called {name!r}{f'; did you mean {near[0]}?' if near else '.'} "
            f"Installed: {listed or 'none'}. Write any other one as module:Class"
        )


class AmbiguousWorkflow(FleetError):
    """Raised when several installed packages have a workflow of that name.

    What to do: Write `module:Class` instead of the name, or uninstall one of the packages.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, name: str, targets: Iterable[str]) -> None:
        super().__init__(
            f"several installed packages have a workflow {name!r}; write which one you mean: "
            f"{' or '.join(sorted(targets))}"
        )


class NoSuchModule(FleetError):
    """Raised when no module has that name.

    What to do: Go to the folder that the module is in, or install its package.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, module: str) -> None:
        super().__init__(
            f"there is no module {module!r} in {Path.cwd()} or among the installed packages; go to "
            "the folder it is in, or install its package"
        )


class BrokenModule(FleetError):
    """Raised when the module of a workflow fails to import.

    What to do: Import the module with `python -c 'import MODULE'`, and correct what its traceback
    shows.
    """

    def __init__(self, module: str, failure: BaseException) -> None:
        super().__init__(
            f"the module {module!r} cannot be imported: {_cause(failure)}{_place(failure)}; "
            f"`python -c 'import {module}'` shows the whole stack"
        )


class NotAWorkflow(FleetError):
    """Raised when a name leads to something that is no workflow class.

    What to do: Name a workflow class of the module: the message lists those that are there.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, module: ModuleType, attribute: str, found: str) -> None:
        there = [name for name, value in vars(module).items() if is_workflow(value)]
        listed = ", ".join(f"{module.__name__}:{name}" for name in there)
        super().__init__(
            f"{module.__name__}:{attribute} is {found}; "
            + (f"the module has {listed}" if there else "the module has no workflow class")
        )


def find(name: str) -> type[Workflow]:
    """Return the workflow class called *name*. Modules may be in the current directory.

    Raises UnknownWorkflow, AmbiguousWorkflow, NoSuchModule, BrokenModule, NotAWorkflow, and Fleet's
    own errors from the module's import, such as WorkflowValidationError.
    """
    target = name if ":" in name else _target(name)
    named, _, attribute = target.partition(":")
    if not _MODULE.fullmatch(named):
        raise UnknownWorkflow(name, installed())
    return _member(_imported(named), attribute)


def module(name: str) -> ModuleType:
    """Return the module called *name*; it may be in the current directory.

    Raises UnknownWorkflow, NoSuchModule, BrokenModule, and Fleet's own errors from the import.
    """
    if not _MODULE.fullmatch(name):
        raise UnknownWorkflow(name, installed())
    return _imported(name)


def is_workflow(value: object) -> TypeGuard[type[Workflow]]:
    """Tell whether *value* is a workflow class, and not the base of all of them."""
    return isinstance(value, type) and issubclass(value, Definition) and not _is_base(value)


def _is_base(workflow: type[Definition]) -> bool:
    """Tell whether it is `Definition` or `Workflow` itself."""
    return workflow is Definition or Definition in workflow.__bases__


def _target(name: str) -> str:
    targets = {entry.value for entry in metadata.entry_points(group=ENTRY_POINTS, name=name)}
    if not targets:
        raise UnknownWorkflow(name, installed())
    if len(targets) > 1:
        raise AmbiguousWorkflow(name, targets)
    return targets.pop()


def installed() -> dict[str, str]:
    """Return the workflows of installed packages: name and `module:Class`."""
    return {entry.name: entry.value for entry in metadata.entry_points(group=ENTRY_POINTS)}


def _imported(module: str) -> ModuleType:
    # As `faust -A` does: an installed program has its own folder in the path, not the user's.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module)
    except FleetError:
        raise
    except ModuleNotFoundError as failure:
        if failure.name and f"{module}.".startswith(f"{failure.name}."):
            raise NoSuchModule(module) from None
        raise BrokenModule(module, failure) from failure
    # A module may do anything on import, also sys.exit().
    except (Exception, SystemExit) as failure:
        raise BrokenModule(module, failure) from failure


def _member(module: ModuleType, path: str) -> type[Workflow]:
    found: object = module
    for name in path.split("."):
        found = getattr(found, name, None)
    if not is_workflow(found):
        raise NotAWorkflow(module, path, _kind(found))
    return found


def _kind(found: object) -> str:
    if found is None:
        return "not there"
    if isinstance(found, type):
        return "a class that is no Workflow"
    return f"an object of type {type(found).__name__} and no workflow class"


def _cause(failure: BaseException) -> str:
    if isinstance(failure, ModuleNotFoundError) and failure.name:
        return f"it needs the module {failure.name!r}, which is not installed"
    if isinstance(failure, SyntaxError):
        return f"{type(failure).__name__}: {failure.msg}"
    return f"{type(failure).__name__}: {failure}".removesuffix(": ")


def _place(failure: BaseException) -> str:
    """Name the line that failed: the innermost of the user's code, else the innermost of all."""
    if isinstance(failure, SyntaxError) and failure.filename:
        return f" ({_shown(failure.filename)}, line {failure.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(failure.__traceback__)
        if not frame.filename.startswith("<") and frame.filename != __file__
    ]
    own = [frame for frame in frames if _is_own(frame.filename)] or frames
    return f" ({_shown(own[-1].filename)}, line {own[-1].lineno})" if own else ""


def _is_own(filename: str) -> bool:
    path = Path(filename)
    return path.is_relative_to(Path.cwd()) and "site-packages" not in path.parts


def _shown(filename: str) -> str:
    return os.path.relpath(filename) if _is_own(filename) else filename
