"""The sources speak plain English, in the rooms that have had their pass."""

from pathlib import Path

import pytest
import voice

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "fleet"
#: The list grows; see CONTRIBUTING.md.
ROOMS = (
    "api",
    "cli",
    "client",
    "config",
    "control",
    "dev",
    "drawing",
    "engine",
    "host",
    "kafka",
    "llm",
    "memory",
    "observability",
    "records",
    "testing",
    "workflow",
)
#: Jokes and critiques of the scripted model: speech, and no words about the code.
SPEECH = PACKAGE / "dev" / "llm" / "answers.py"
SOURCES = sorted(
    {PACKAGE / "__init__.py", *(file for room in ROOMS for file in (PACKAGE / room).rglob("*.py"))}
    - {SPEECH}
)
#: What people read outside of the package.
AROUND = sorted(
    file
    for pattern in (
        *(".ci/*", "*.toml", "*.yml", "Dockerfile", ".dockerignore"),
        *("helm/**/*.yaml", "helm/**/*.json", "helm/**/*.tpl", "helm/**/*.txt"),
        *("grafana/**/*.py", "grafana/**/*.yaml", "grafana/*.yml"),
    )
    for file in ROOT.glob(pattern)
    if file.is_file()
)


@pytest.mark.parametrize("source", SOURCES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_is_in_plain_english(source: Path) -> None:
    """Docstrings, comments and messages; and a loop's variable says what it is."""
    text = source.read_text()
    assert voice.turns(text) == []
    assert voice.loops_over_each(text) == []


@pytest.mark.parametrize("file", AROUND, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_files_around_the_package_are_in_plain_english(file: Path) -> None:
    """Chart, rules, boards, images, CI."""
    assert voice.BANNED.findall(file.read_text().replace("#", " ")) == []


def test_a_turn_of_a_translation_would_be_noticed() -> None:
    """In a docstring, a comment and a message, also over the end of a line."""
    source = (
        "def f(x: int) -> str:\n"
        '    """Tell whoever asks.\n'
        "\n"
        "    It is told what it is; raises ValueError where it is not.\n"
        '    """\n'
        "    # It goes on\n"
        "    # with it.\n"
        '    return f"nobody has {x}"\n'
    )
    assert voice.turns(source) == [
        "line 2: whoever",
        "line 4: is told",
        "line 4: raises ValueError where",
        "line 6: goes on with",
        "line 8: nobody",
    ]


def test_a_loop_over_each_would_be_noticed() -> None:
    """In a statement and in a comprehension, among several variables too."""
    assert voice.loops_over_each("for each in x: pass\n") == [1]
    assert voice.loops_over_each("\n[a for a, each in x]\n") == [2]
    assert voice.loops_over_each("each = 1\n") == []
