"""
Makes foreign text safe to show: a terminal obeys some characters, and a newline makes rows.

Anyone who can write to a topic can write run ids, events, errors and headers. Escape sequences,
other control characters, line separators and marks that turn the direction of text are shown as
Python would write them, with a backslash. All other text stays as it is.
"""

import re

_UNSAFE = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_NOT_IN_A_LINE = re.compile(f"[{_UNSAFE}]")
#: All of these but tab and newline.
_NOT_IN_TEXT = re.compile(f"(?![\t\n])[{_UNSAFE}]")


def line(value: object) -> str:
    """Return *value* as one line that no terminal obeys."""
    return _NOT_IN_A_LINE.sub(_escaped, str(value))


def text(value: object) -> str:
    """Return *value* as text that no terminal obeys; it keeps its lines."""
    return _NOT_IN_TEXT.sub(_escaped, str(value))


def json(written: str) -> str:
    """Return JSON with the same meaning that no terminal obeys."""
    return _NOT_IN_TEXT.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
