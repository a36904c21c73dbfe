"""
`ClearText`: you say that a secret may be written.

pydantic masks a SecretStr wherever it writes it. Topics are clear text: anyone who may read them
reads what is in them, for as long as Kafka keeps them. So Fleet refuses a secret in an event,
unless you mark its field. It reveals the secret only on the way into a topic: a log or
`model_dump_json` shows the mask as before.
"""

from typing import Any

from pydantic import GetCoreSchemaHandler, SerializationInfo, SerializerFunctionWrapHandler
from pydantic_core import CoreSchema, core_schema

#: In the metadata of a field's schema.
MARK = "fleet_clear_text"


class OnTheWire(dict[str, Any]):
    """The context of a serialisation into a topic."""


ON_THE_WIRE = OnTheWire()


class ClearText:
    """Marks a secret that may be written: `api_key: Annotated[SecretStr, ClearText]`."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of the marked type, and how it is written."""
        schema = handler(source)
        marked: Any = {**schema.get("metadata", {}), MARK: True}
        written = core_schema.wrap_serializer_function_ser_schema(
            _written, info_arg=True, when_used="json"
        )
        return {**schema, "metadata": marked, "serialization": written}


def _written(value: Any, write: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
    reveal = getattr(value, "get_secret_value", None)
    return reveal() if reveal and isinstance(info.context, OnTheWire) else write(value)
