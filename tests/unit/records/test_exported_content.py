"""Bytes in an export: people can read them, and the same bytes come back."""

import json

import pytest

from fleet.records.exported import content


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b'{"a":1,"b":["x",null]}', "json"),
        (b"[]", "json"),
        # Equal, and not the same bytes.
        (b'{"a": 1}', "text"),
        (b'{"a":1,"a":2}', "text"),
        (b'{"a":1.0e5}', "text"),
        (b'{"a":NaN}', "text"),
        (b'"a"', "text"),
        (b"1", "text"),
        ('{"a":"\u00fc\u2028"}'.encode(), "json"),
        (b'{"until":"resume"}\0{"number":1}', "text"),
        (b"", "text"),
        (b"\xff\x00", "base64"),
        (b'{"a":%b}' % (b"9" * 5000), "text"),
    ],
)
def test_it_comes_back(value: bytes, kind: str) -> None:
    """Through a file, too."""
    written = content.written(value)
    assert list(written) == [kind]
    assert content.read(json.loads(json.dumps(written))) == value


@pytest.mark.parametrize("odd", [{}, {"text": 1}, {"base64": "?"}, "text", None])
def test_what_is_no_content(odd: object) -> None:
    """A file may come from anywhere."""
    with pytest.raises(ValueError, match=r"content|base64|Base64"):
        content.read(odd)
