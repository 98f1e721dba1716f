"""What is loaded is what is used: each import delays the prompt, and on an agent it is memory on every host."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROBE = """
import sys
sys.argv = ["investigator", *sys.argv[1:]]
from investigator.__main__ import main
try:
    main()
finally:
    print(*sorted(sys.modules), file=sys.stderr)
"""


def loaded_by(*words: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", PROBE, *words], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "library", ["asyncio", "rich", "nats", "pgpy", "sqlglot", "aiosqlite", "msgspec", "cryptography"]
)
def test_help_loads_no_library_that_it_does_not_need(library: str) -> None:
    assert library not in loaded_by("--help")


def test_the_version_is_answered_without_the_command_line_parser() -> None:
    loaded = loaded_by("--version")
    assert "investigator.program" in loaded
    assert not loaded & {"typer", "click", "investigator.cli"}
