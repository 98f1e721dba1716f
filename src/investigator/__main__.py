"""`python -m investigator`, the `investigator` and `mig` scripts, and the zipapp's entry.

Nothing but what the chosen command needs is imported: `--version` is answered by the interpreter's own start.
"""

from __future__ import annotations

import sys

from investigator import __version__
from investigator.program import program_name


def main() -> int:
    """The `investigator` command, or MIG's when the program was started by one of MIG's names. Returns the exit code."""
    if program_name(sys.argv[0]) != "investigator":
        return mig()
    if sys.argv[1:] == ["--version"]:
        print(f"investigator {__version__}")  # noqa: T201 - the answer
        return 0
    from investigator import cli

    return cli.main(sys.argv[1:])


def mig() -> int:
    """MIG's own command line. Returns the exit code."""
    from investigator import cli

    return cli.main_mig(program_name(sys.argv[0]), sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
