"""docs/threat-model.md is held to what it says: its tests exist, its numbers and codes are those of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/threat-model.md").read_text()
PROTOCOL = ROOT / "src/investigator/protocol"
NAMED = sorted(set(re.findall(r"`(test_\w+)`", PAGE)))


def names_of_tests(folder: Path) -> set[str]:
    """The names of all test functions."""
    return {
        node.name
        for path in folder.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    }


def rows(heading: str) -> dict[int, str]:
    """The numbered rows of the table under a heading, by number."""
    section = PAGE.split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]
    return {int(number): row for number, row in re.findall(r"^\| (\d+) \| (.*)$", section, re.MULTILINE)}


def numbers(path: Path) -> list[int]:
    """The numbers at the beginning of comments and docstrings, as `# 1.` or ` 1. `."""
    return sorted(
        {int(number) for number in re.findall(r"^(?: +# | ?| +\"\"\")(\d+)\. [A-Z]", path.read_text(), re.MULTILINE)}
    )


def test_every_test_that_the_page_names_exists() -> None:
    assert len(NAMED) > 80
    there = names_of_tests(ROOT / "tests")
    assert [name for name in NAMED if name not in there] == []


@pytest.mark.parametrize(
    ("heading", "path"),
    [
        ("The gate", PROTOCOL / "admission.py"),
        ("Cancels", PROTOCOL / "cancel.py"),
        ("OpenPGP", ROOT / "src/investigator/pgp/policy.py"),
        ("Who comes in", ROOT / "src/investigator/broker/enrolment.py"),
    ],
)
def test_the_numbers_of_a_table_are_those_of_the_code(heading: str, path: Path) -> None:
    assert list(rows(heading)) == numbers(path)


def test_every_row_of_a_table_with_numbers_names_a_test() -> None:
    for heading in ("The gate", "Cancels", "OpenPGP", "Who comes in"):
        for number, row in rows(heading).items():
            assert "`test_" in row, f"{heading} {number}"


def test_each_code_that_the_gate_refuses_with_stands_at_its_number() -> None:
    steps = re.split(r"^    # (\d+)\. ", (PROTOCOL / "admission.py").read_text(), flags=re.MULTILINE)
    for number, step in zip(steps[1::2], steps[2::2], strict=True):
        codes = set(re.findall(r'(?:refuse\(|code=)"([a-z-]+)"', step))
        assert codes, number
        assert codes <= set(re.findall(r"`([a-z-]+)`", rows("The gate")[int(number)])), number
