"""Which of its names the program was started by."""

from __future__ import annotations

import subprocess
import sys

import pytest

from investigator import __version__
from investigator.program import own_command, program_name


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
