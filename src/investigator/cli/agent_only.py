"""The command line of the zipapp that is the agent only (`make zipapp AGENT_ONLY=1`): no console, no broker."""

from __future__ import annotations

import sys
from typing import Final

from investigator import __version__, cli
from investigator.errors import DeploymentError
from investigator.program import program_name

HELP: Final = """Usage: investigator agent [OPTIONS]

  This file is the agent only. `investigator agent --help` says what it takes.
  The console and the broker are in the whole investigator.pyz.

Options:
  --version  Print the version.
  --help     Show this message and exit.
"""


def main() -> int:
    """Run the agent, or say that there is nothing else. Returns the exit code."""
    program, words = program_name(sys.argv[0]), sys.argv[1:]
    if program == "investigator" and words[:1] == ["agent"]:
        return cli.main(words)
    if program == "investigator" and words in (["--version"], ["--help"]):
        sys.stdout.write(HELP if words == ["--help"] else f"investigator {__version__}\n")
        return 0
    return cli.reported(program, lambda: _other(program, words))


def _other(program: str, words: list[str]) -> int:
    wanted = words[0][:60] if program == "investigator" and words else program
    raise DeploymentError(f"this file is the agent only: {wanted!r} is in the whole investigator.pyz")
