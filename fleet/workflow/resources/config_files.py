"""The files of `ResourceConfig`: a part of a JSON file as a pydantic model."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from fleet.records.events import problems
from fleet.workflow.errors import WorkflowConfigurationError


class BadConfigFile(WorkflowConfigurationError, ValueError):
    """Raised when the file of a `ResourceConfig` is missing, or does not hold what it should.

    What to do: Correct the file that the message names, or put it where the worker runs: a relative
    path begins at its working directory.
    """


@dataclass(frozen=True, slots=True)
class Source:
    """The part of a file that holds a model."""

    file: str
    selector: str | None
    model: type[BaseModel]

    def __str__(self) -> str:
        return self.file if self.selector is None else f"{self.file} at {self.selector}"

    def read(self) -> BaseModel:
        """Read the file; raise BadConfigFile."""
        found = _part(_content(Path(self.file)), self)
        try:
            return self.model.model_validate(found)
        except ValidationError as failure:
            raise BadConfigFile(
                f"{self} is no {self.model.__name__}: {problems(failure)}"
            ) from None

    def findings(self) -> Iterator[str]:
        """Yield what is wrong with it."""
        try:
            self.read()
        except BadConfigFile as failure:
            yield str(failure)


def _content(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadConfigFile(f"No such file: {path} (looked for it in {Path.cwd()})") from None
    except (OSError, ValueError) as failure:
        raise BadConfigFile(f"{path} cannot be read as JSON: {failure}") from None


def _part(content: Any, source: Source) -> Any:
    """Return the part of *content* that the selector names."""
    passed = []
    for key in source.selector.split(".") if source.selector is not None else ():
        passed.append(key)
        content = content.get(key) if isinstance(content, dict) else None
        if not isinstance(content, dict):
            found = "nothing" if content is None else type(content).__name__
            raise BadConfigFile(
                f"{source.file} has no object at {'.'.join(passed)}, but {found}; correct the file "
                "or the path_selector"
            )
    return content
