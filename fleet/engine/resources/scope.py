"""What was made for one attempt, or for one resource that a worker keeps, and lives as long."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol

from fleet.engine.resources.making import Close, made
from fleet.workflow.resources.providers import Provider

#: Who makes what is needed, by parameter.
Needs = tuple[tuple[str, Provider], ...]


class Shared(Protocol):
    """A resource that a worker keeps."""

    async def value(self) -> Any:
        """Return it, as soon as it is made."""
        ...

    @property
    def lasts(self) -> bool:
        """Whether something closes it, which has to wait for those that use it."""
        ...

    def use(self) -> Close:
        """Keep it open until what is returned is called."""
        ...


class Scope:
    """Resources that end together, the last made first."""

    def __init__(self, shared: Callable[[Provider], Shared], given: Mapping[Hashable, Any]) -> None:
        self._shared = shared
        #: Values that are not made, by what they stand for.
        self._given = given
        self._values: dict[Hashable, Any] = {}
        self._closings: list[Close] = []

    @property
    def lasts(self) -> bool:
        """Whether something has to be done when it ends."""
        return bool(self._closings)

    async def values(self, needs: Needs) -> dict[str, Any]:
        """Return a value for each parameter that needs one."""
        return {parameter: await self._value(need) for parameter, need in needs}

    async def make(self, provider: Provider) -> Any:
        """Make a resource with what it needs."""
        value, close = await made(provider.make, await self.values(provider.needs))
        if close is not None:
            self._closings.append(close)
        return value

    async def close(self, failure: BaseException | None = None) -> None:
        """Close everything; then raise the first error of that. Resources hear of *failure*."""
        raised: BaseException | None = None
        while self._closings:
            try:
                await self._closings.pop()(failure)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - the others are closed all the same
                raised = raised or error
        if raised is not None:
            raise raised

    async def close_after(self, failure: BaseException) -> None:
        """Close everything after a *failure*, which tells more than an error of closing."""
        try:
            await self.close(failure)
        except Exception as error:  # noqa: BLE001 - a note of the failure
            failure.add_note(f"Closing its resources failed, too: {error!r}")

    async def _value(self, provider: Provider) -> Any:
        if provider.source in self._given:
            return self._given[provider.source]
        if provider.key not in self._values:
            if provider.is_cached:
                self._values[provider.key] = await self._use(self._shared(provider))
            else:
                self._values[provider.key] = await self.make(provider)
        return self._values[provider.key]

    async def _use(self, shared: Shared) -> Any:
        value = await shared.value()
        if shared.lasts:
            self._closings.append(shared.use())
        return value
