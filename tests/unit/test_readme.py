"""What the README tells people to type is what the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from investigator.cli.commands import COMMANDS
from investigator.cli.request import parse_run
from investigator.modules import MODULES

ROOT = Path(__file__).parents[2]
TYPED = re.findall(r"^\$ (investigator .*)$", (ROOT / "README.md").read_text(), re.MULTILINE)


def words_of(typed: str) -> list[str]:
    return shlex.split(typed.replace("…", "0" * 64), comments=True)[1:]


def test_the_readme_shows_commands() -> None:
    assert len(TYPED) > 8


@pytest.mark.parametrize("typed", TYPED)
def test_a_command_of_the_readme_exists(typed: str) -> None:
    assert words_of(typed)[0] in COMMANDS


@pytest.mark.parametrize("typed", [typed for typed in TYPED if typed.startswith("investigator run")])
def test_a_run_of_the_readme_is_taken_as_it_stands(typed: str) -> None:
    request = parse_run([word for word in words_of(typed)[1:] if word != "&"])
    assert request.help or request.module in MODULES or request.file is not None


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|\$ )make ([a-z]+)", (ROOT / "README.md").read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
