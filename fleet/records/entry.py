"""State values: what every kind of them has in common."""

from typing import Self

from pydantic import BaseModel, ConfigDict


class Entry(BaseModel):
    """Base of state values: JSON, and fields of a newer version stay as they are.

    A change of an entry keeps its unknown fields: the next owner may know them.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    def encode(self) -> bytes:
        """Return the state value."""
        return self.__pydantic_serializer__.to_json(self, exclude_defaults=True)

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a state value."""
        return cls.model_validate_json(value)
