"""
The state of a run whose steps name a model: `ctx: Context[MyState]`.

A field is kept when a step changes it; until then it has its default. A dictionary in a field is
kept by its keys, so steps may set different ones at the same time. A model in a field is kept as a
whole: what is read of it is what one step has written.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json

from fleet.records import field_types, values
from fleet.records.clear_text import ON_THE_WIRE
from fleet.records.events import problems
from fleet.workflow.context_state import leaves
from fleet.workflow.errors import ContextStateError


class Typed:
    """See `fleet.workflow.context_state.state_type`."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.model = model

    @cached_property
    def needs_all(self) -> bool:
        """Whether validators look at several fields, so that none is read without the others."""
        return bool(self.model.__pydantic_decorators__.model_validators)

    @cached_property
    def filled(self) -> frozenset[str]:
        """The fields whose defaults are dictionaries with members."""
        found = vars(self.made({})).items()
        return frozenset(name for name, value in found if type(value) is dict and value)

    def made(self, stored: Mapping[str, Any]) -> BaseModel:
        """Return an object of the model; raise ContextStateError if it does not take the values.

        Names that it does not have are of another version, and are left out.
        """
        if not self._takes_any:
            stored = {name: stored[name] for name in stored if name in self.model.model_fields}
        try:
            return self._read(stored)
        except Exception as failure:  # noqa: BLE001 - the boundary: validators are your code
            raise ContextStateError(
                f"the run's context cannot be read as {self.model.__name__}: {problems(failure)}; "
                "let the field take what older versions have written"
            ) from None

    def names(self, state: BaseModel) -> Iterable[str]:
        """Return the names of the fields, and of free ones."""
        extra = list(state.__pydantic_extra__ or ())
        for name in extra:
            leaves.check_name(name)
        return [*self.model.model_fields, *extra]

    def unsure(self, state: BaseModel, names: Iterable[str]) -> set[str]:
        """Return those of *names* whose values JSON may write in several ways."""
        return {name for name in set(names) if not values.plain(getattr(state, name, None))}

    def leaves(self, state: BaseModel, names: Iterable[str] | None = None) -> dict[str, bytes]:
        """Return the leaves of a state by path, or those under *names*."""
        chosen = list(self.names(state) if names is None or self.needs_all else names)
        written = self._written(state, chosen)
        self._check(state, written, chosen)
        return {
            path: leaves.encoded(path, leaf)
            for name, value in written.items()
            for path, leaf in leaves.split(name, getattr(state, name), value)
        }

    def replaced(self, current: BaseModel, given: Any) -> BaseModel:
        """Return *given*; an object of a parent replaces the fields that the parent has."""
        if type(given) is self.model:
            changed: BaseModel = given
            return changed
        if not isinstance(given, BaseModel) or not issubclass(self.model, type(given)):
            raise ContextStateError(
                f"State must be of type {self.model.__name__} or a parent type, got "
                f"{type(given).__name__}; let a step name it: `ctx: Context[...]`"
            )
        own = {name: getattr(given, name) for name in type(given).model_fields}
        return current.model_copy(update=own)

    @cached_property
    def _takes_any(self) -> bool:
        return self.model.model_config.get("extra") == "allow"

    @cached_property
    def _promise(self) -> field_types.Promise:
        return field_types.promise(self.model)

    def _read(self, fields: Mapping[str, Any]) -> BaseModel:
        return self.model.model_validate_json(to_json(fields), by_name=True, by_alias=True)

    def _written(self, state: BaseModel, names: list[str]) -> dict[str, Any]:
        """Return fields as JSON has them; those that are not written are missing."""
        try:
            return self._write(state, names)
        except (ValueError, AttributeError, TypeError, RecursionError) as failure:
            if len(names) > 1:
                for name in names:
                    self._written(state, [name])
            reason = str(failure).splitlines()[0].removeprefix("Error serializing to JSON: ")
            raise leaves.unkept(names[0], reason) from None

    def _write(self, state: BaseModel, names: list[str]) -> dict[str, Any]:
        written: dict[str, Any] = state.__pydantic_serializer__.to_python(
            state,
            mode="json",
            include=set(names),
            by_alias=False,
            round_trip=True,
            warnings="none",
            context=ON_THE_WIRE,
        )
        return written

    def _check(self, state: BaseModel, written: dict[str, Any], names: list[str]) -> None:
        """Raise ContextStateError if a field would not come back as it is."""
        if self._promise.kept(state):
            return
        try:
            after = self._read(written)
        except Exception as failure:  # noqa: BLE001 - the boundary: validators are your code
            path = _place(failure) or next(iter(written), "")
            raise leaves.unkept(path, f"it could not be read again ({problems(failure)})") from None
        for name in names:
            found = values.difference(getattr(state, name), getattr(after, name))
            if found is not None:
                path = f"{name}.{found.path}" if found.path else name
                what = found.reason.partition("; ")[0] if name in written else _EXCLUDED
                raise ContextStateError(
                    f"the value at {path!r} cannot be kept: {what}; set a value of the field's type"
                )


_EXCLUDED = "the field is not written (exclude=True), so its value would be lost"


def _place(failure: Exception) -> str:
    """Return the path of the first field that a validation names."""
    found: list[Any] = getattr(failure, "errors", list)()
    return ".".join(map(str, found[0]["loc"])) if found else ""
