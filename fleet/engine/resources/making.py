"""Calls the factory of a resource, and says how the value is closed."""

import contextlib
import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

#: Takes the error with which the attempt ended that had the value, or None.
Close = Callable[[BaseException | None], Awaitable[None]]


@contextlib.contextmanager
def _nothing() -> Iterator[None]:
    yield


async def _nothing_async() -> Any:
    yield


#: What functions return that `@contextmanager` or `@asynccontextmanager` marks. Other objects may
#: be context managers, too, and mean something else: a lock would be taken.
_MARKED = type(_nothing())
_MARKED_ASYNC = type(contextlib.asynccontextmanager(_nothing_async)())


class Made(NamedTuple):
    """A resource."""

    value: Any
    #: None if there is nothing to do.
    close: Close | None = None


async def made(factory: Callable[..., Any], given: dict[str, Any]) -> Made:
    """Call *factory*; if it yields, until it does."""
    if inspect.isasyncgenfunction(factory):
        factory = contextlib.asynccontextmanager(factory)
    elif inspect.isgeneratorfunction(factory):
        factory = contextlib.contextmanager(factory)
    result = factory(**given)
    if inspect.iscoroutine(result):
        result = await result
    if isinstance(result, _MARKED_ASYNC):
        return Made(await result.__aenter__(), _closing_async(result))
    if isinstance(result, _MARKED):
        return Made(result.__enter__(), _closing(result))
    return Made(result)


def _closing(manager: Any) -> Close:
    async def close(failure: BaseException | None) -> None:
        manager.__exit__(*_told(failure))

    return close


def _closing_async(manager: Any) -> Close:
    async def close(failure: BaseException | None) -> None:
        await manager.__aexit__(*_told(failure))

    return close


def _told(failure: BaseException | None) -> tuple[Any, Any, Any]:
    """Return what the end of a `with` block gets."""
    if failure is None:
        return None, None, None
    return type(failure), failure, failure.__traceback__
