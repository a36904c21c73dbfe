"""`Resource` and `ResourceConfig`: a parameter of a step that is no event, and who makes it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fleet.workflow.errors import WorkflowConfigurationError

#: What a file of a `ResourceConfig` holds.
_SUFFIX = ".json"


class BadResource(WorkflowConfigurationError, ValueError):
    """Raised when `Resource(...)` or `ResourceConfig(...)` gets something that it cannot use.

    What to do: Pass `Resource` the function itself, `Resource(get_db)`, and `ResourceConfig` the
    name of a JSON file.
    """


class Resource:
    """A parameter that a function makes: `db: Annotated[Database, Resource(get_db)]`.

    *factory* is a function or a class. It may be `async def`, and its own parameters may be
    resources. With `cache`, each worker calls it once, and all attempts of all steps get the same
    value; in memory each workflow object is a worker. With `cache=False` each attempt gets a value
    of its own.

    A factory that yields is closed: it continues after its `yield` when the worker stops, or with
    `cache=False` when the attempt has ended. The same holds for functions marked
    `@contextmanager` and `@asynccontextmanager`. Raises BadResource.
    """

    def __init__(self, factory: Callable[..., Any], cache: bool = True) -> None:
        if not callable(factory):
            raise BadResource(
                "Resource takes the function that makes the resource, not "
                f"{type(factory).__name__}: write e.g. Resource(get_db)"
            )
        #: Makes it.
        self.factory = factory
        #: Whether a worker keeps it; else each attempt has its own.
        self.cache = bool(cache)


class ResourceConfig:
    """A parameter read from a JSON file: `Annotated[Limits, ResourceConfig("limits.json")]`.

    The annotated type is a pydantic model. *config_file* is relative to the working directory.
    *path_selector* names the part of the file that is meant: `"search.limits"`. Each worker reads
    it once. *label* and *description* are for people. Raises BadResource.
    """

    def __init__(
        self,
        config_file: str,
        path_selector: str | None = None,
        label: str | None = None,
        description: str | None = None,
    ) -> None:
        if Path(config_file).suffix != _SUFFIX:
            raise BadResource(f"ResourceConfig reads a JSON file, *{_SUFFIX}, not {config_file!r}")
        #: The JSON file.
        self.config_file = str(config_file)
        #: The keys to the part that is meant, with dots between them; None: the whole file.
        self.path_selector = path_selector
        #: A short name, for people.
        self.label = label
        #: What the settings are for, for people.
        self.description = description


def declared_in(marks: tuple[Any, ...]) -> Resource | ResourceConfig | None:
    """Return the resource among the marks of `Annotated[T, ...]`, or None."""
    return next((one for one in marks if isinstance(one, Resource | ResourceConfig)), None)
