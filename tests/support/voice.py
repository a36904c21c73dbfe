"""What plain English does without: turns that a translation leaves behind."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

#: Plain English has an actor and a verb.
BANNED = re.compile(
    r"\b(somebody|nobody|whoever|anew|of\s+late|for\s+good|so\s+many|is\s+told"
    r"|(?:goes|gone)\s+on\s+with)\b",
    re.IGNORECASE,
)
#: A condition is an `if`.
WHERE = re.compile(
    r"\b(?:(?:raises?\s+\w+|raised|None|empty|0)\s+where"
    r"|where\s+(?:None|nothing|none|no|there\s+is))\b",
    re.IGNORECASE,
)
#: Where a comment goes on in its next line.
_NEXT_LINE = re.compile(r"\n\s*#:?")


def words(source: str) -> Iterator[tuple[int, str]]:
    """Yield the comments, docstrings and other strings of *source*, each with its first line.

    Comments that follow each other are one.
    """
    begun, comment, last = 0, "", 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line = token.start[0]
        if token.type == tokenize.COMMENT:
            if comment and line == last + 1:
                comment += f"\n{token.string}"
            else:
                yield begun, comment
                begun, comment = line, token.string
            last = line
        # From Python 3.12 on an f-string comes in parts.
        elif "STRING" in tokenize.tok_name[token.type]:
            yield line, token.string
    yield begun, comment


def turns(source: str) -> list[str]:
    """Return the turns in the words of *source* that plain English does without."""
    found = [
        (line + text.count("\n", 0, hit.start()), " ".join(hit[0].split()))
        for line, text in _spaced(source)
        for pattern in (BANNED, WHERE)
        for hit in pattern.finditer(text)
    ]
    return [f"line {line}: {turn}" for line, turn in sorted(found)]


def _spaced(source: str) -> Iterator[tuple[int, str]]:
    for line, text in words(source):
        yield line, _NEXT_LINE.sub(lambda sign: "\n" + " " * (len(sign[0]) - 1), text)


def loops_over_each(source: str) -> list[int]:
    """Return the lines of loops whose variable is called `each`, which names nothing."""
    return [
        target.lineno
        for loop in ast.walk(ast.parse(source))
        if isinstance(loop, ast.For | ast.AsyncFor | ast.comprehension)
        for target in ast.walk(loop.target)
        if isinstance(target, ast.Name) and target.id == "each"
    ]
