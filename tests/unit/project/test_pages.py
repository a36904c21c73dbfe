"""How a page's outputs are compared: a test of the tutorial that cannot fail would be none."""

from pathlib import Path

import pages
import pytest


@pytest.mark.parametrize(
    ("expected", "output"),
    [
        ("one\ntwo\n", "one\ntwo"),
        ("RUN  WHY\n1    x\n", "RUN   WHY\n1     x  \n"),
        ("took … s", "took 1.5 s"),
        ("…\nlast", "first\nsecond\nlast"),
        ("…\nlast", "last"),
        ("first\n…", "first"),
    ],
)
def test_an_output_may_differ_in_what_the_page_leaves_open(expected: str, output: str) -> None:
    """Columns, parts of a line, and whole lines."""
    assert pages.is_shown(expected, output)


@pytest.mark.parametrize(
    ("expected", "output"),
    [
        ("one\n", "one\ntwo\n"),
        ("one\ntwo\n", "one\n"),
        ("took … s", "took 1.5 s\nmore"),
        ("…\nlast", "first\nlast one"),
        ("a.c", "abc"),
        ("", "something"),
    ],
)
def test_an_output_may_not_differ_in_anything_else(expected: str, output: str) -> None:
    """More lines, fewer lines, other words."""
    assert not pages.is_shown(expected, output)


def test_an_excerpt_may_be_indented_otherwise() -> None:
    """But it has every line of its part, in order."""
    whole = "class A:\n    x = 1\n\n    y = 2\n    z = 3\n"
    assert pages.is_part("x = 1\ny = 2\n", whole)
    assert not pages.is_part("x = 1\nz = 3\n", whole)
    assert not pages.is_part("y = 2\nx = 1\n", whole)


def test_a_block_has_the_comment_above_it(tmp_path: Path) -> None:
    """And the line it begins in, for messages."""
    page = tmp_path / "page.md"
    page.write_text("# A\n\n<!-- file: a.py -->\n```python\nx = 1\n```\n\n```sh\nls\n```\n")
    file, shell = pages.blocks(page)
    assert (file.comment, file.text, file.line) == ({"file": "a.py"}, "x = 1\n", 4)
    assert (shell.comment, shell.language, shell.line) == ({}, "sh", 8)


def test_a_terminal_keeps_its_folder_and_its_variables(tmp_path: Path) -> None:
    """From one block to the next, and a failure is the block's own."""
    (tmp_path / "inner").mkdir()
    terminal = pages.Terminal(tmp_path, {"PATH": "/usr/bin:/bin"}, tmp_path / "log")
    try:
        terminal.type("cd inner\nname=Ada\nfalse\n")
        assert terminal.wait() == 1
        terminal.type('echo "$name in ${PWD##*/}"\n')
        terminal.wait_for("Ada in inner")
        assert terminal.wait() == 0
        with pytest.raises(AssertionError, match="expected"):
            terminal.wait_for("Bob in inner")
    finally:
        terminal.close()
