"""Bytes of a record in a JSON document: readable if they can be, and the same bytes again."""

import base64
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer
from pydantic_core import from_json, to_json

#: What a document has in the place of bytes.
Written = dict[str, Any]


def written(content: bytes) -> Written:
    """Return *content* for a document: JSON as it is, else text, else Base64."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}
    try:
        found = from_json(content)
        # Only what comes back byte for byte: a log may hold JSON of another client. And no NaN,
        # which many tools do not read.
        if isinstance(found, dict | list) and to_json(found, inf_nan_mode="null") == content:
            return {"json": found}
    except ValueError:
        pass
    return {"text": text}


def read(content: Any) -> bytes:
    """Return the bytes that a document says; raise ValueError if it says none."""
    match content:
        case bytes():
            return content
        case {"json": found}:
            return to_json(found)
        case {"text": str(text)}:
            return text.encode()
        case {"base64": str(text)}:
            return base64.b64decode(text, validate=True)
    raise ValueError("content is an object with one of json, text and base64")


#: Bytes in a document.
Content = Annotated[bytes, BeforeValidator(read), PlainSerializer(written)]
