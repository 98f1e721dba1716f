"""Which of its names the program was started by."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from investigator import __version__
from investigator.program import MIG_NAMES, own_command, program_name


@pytest.mark.parametrize(
    ("argv0", "name"),
    [
        ("/usr/local/bin/mig", "mig"),
        ("mig-agent", "mig-agent"),
        ("./mig-agent-search", "mig-agent-search"),
        ("MIG.EXE", "mig"),
        ("dist/investigator.pyz", "investigator"),
        ("mig.pyz", "mig"),
        ("/opt/mig/investigator", "investigator"),
        ("migraine", "investigator"),
        ("-c", "investigator"),
        ("", "investigator"),
    ],
)
def test_the_name_decides(argv0: str, name: str) -> None:
    assert program_name(argv0) == name


def test_the_own_command_starts_this_program() -> None:
    done = subprocess.run([*own_command(), "--version"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (f"investigator {__version__}\n", "")
    assert own_command()[0] == sys.executable


def test_each_of_migs_names_is_a_command_that_is_installed() -> None:
    scripts = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(scripts) == MIG_NAMES | {"investigator"}
    assert {place for name, place in scripts.items() if name in MIG_NAMES} == {"investigator.__main__:mig"}
