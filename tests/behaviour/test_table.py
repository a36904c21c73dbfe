"""The table of README.md names tests that exist, and every file of this folder."""

import re
from pathlib import Path

HERE = Path(__file__).parent
#: `test_ends.py` or `test_ends.py::test_the_first_result_counts`.
NAMED = re.compile(r"`(test_\w+\.py)(?:::(test_\w+))?`")


def named() -> list[tuple[str, str]]:
    """Return the files and the tests that the table names."""
    rows = [line for line in (HERE / "README.md").read_text().splitlines() if line[:1] == "|"]
    return [pair for row in rows for pair in NAMED.findall(row)]


def test_the_table_names_tests_that_exist() -> None:
    found = named()

    assert found
    for file, test in found:
        assert f"def {test}" in (HERE / file).read_text(), (file, test)


def test_the_table_names_every_file_of_tests() -> None:
    files = {each.name for each in HERE.glob("test_*.py")} - {Path(__file__).name}

    assert files == {file for file, _ in named()}
