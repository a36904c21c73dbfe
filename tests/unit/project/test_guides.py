"""
The guides for authors are run: the Python blocks of a page, in order, as one session in memory, and
what they print is the output that the page shows below them.
"""

import ast
import builtins
import contextlib
import inspect
import io
import sys
import types
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pages
import pytest
from pages import Block

from fleet.dev.llm import ScriptedLLM

DOCS = Path(__file__).parents[3] / "docs"
GUIDES = ("workflows.md",)


@pytest.fixture
async def model(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScriptedLLM]:
    """The scripted model, where a page would have a key."""
    async with ScriptedLLM() as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        yield model


async def execute(block: Block, page: Path, names: dict[str, Any]) -> str:
    """Run *block* as a notebook does; return what it prints."""
    # Lines count as in the page, so that a traceback leads there.
    source = "\n" * block.line + block.text
    code = compile(source, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    function = types.FunctionType(code, names)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        result = function()
        if inspect.isawaitable(result):
            await result
    return printed.getvalue()


async def follow(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A module that is there: an error comes back with its own type only if that can be found.
    module = types.ModuleType("guide")
    monkeypatch.setitem(sys.modules, "guide", module)
    names = vars(module)
    # From Python 3.12 on, a function made of code does not bring them.
    names["__builtins__"] = builtins
    printed = ""
    for block in pages.blocks(page):
        if block.language == "python":
            assert not printed, f"the page does not show what is printed before line {block.line}"
            printed = await execute(block, page, names)
        elif block.language == "text":
            assert pages.is_shown(block.text, printed), (
                f"line {block.line}\nexpected:\n{block.text}\nfound:\n{printed}"
            )
            printed = ""
    assert not printed


@pytest.mark.parametrize("name", GUIDES)
@pytest.mark.usefixtures("model")
async def test_a_guide_runs_from_top_to_bottom(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block of Python, and nothing is printed that the page does not show."""
    await follow(DOCS / name, monkeypatch)


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(1)\n```\n\n```text\n2\n```\n",
        "```python\nprint(1)\n```\n",
        "```python\nx = 1\n```\n\n```text\n1\n```\n",
    ],
    ids=["other output", "not shown", "not printed"],
)
async def test_a_guide_that_shows_another_output_would_be_noticed(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it shows other words, too much or too little."""
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(AssertionError):
        await follow(page, monkeypatch)
