"""State values: what all kinds of them share."""

from typing import Self

from pydantic import BaseModel, ConfigDict


class Entry(BaseModel):
    """Base of state values: JSON that keeps the fields of a newer version.

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
