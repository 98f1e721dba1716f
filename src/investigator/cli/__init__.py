"""The command line: `commands` is the table of what there is; each command parses and delegates.

Only `main` knows exit codes. Nothing is imported before it is needed: `--help` loads typer and the table, no more.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

DEBUG: Final = "INVESTIGATOR_DEBUG"
"""With this variable set to something, an internal error shows its traceback."""
PIPE_CLOSED: Final = 141
"""The exit code where whoever read our output left: 128 + SIGPIPE, as a shell has it."""


class PipeClosed(Exception):
    """Whoever read our output left; raised so that typer does not judge it."""


def main(words: Sequence[str]) -> int:
    """`investigator WORDS`. Returns the exit code; what went wrong was said on stderr."""
    if words[:1] == ["agent"]:  # without typer
        from investigator.cli.agent import agent

        return reported("investigator", lambda: agent(words[1:]))
    return reported("investigator", lambda: _typer(words))


def main_mig(program: str, words: Sequence[str]) -> int:
    """MIG's programs (`mig`, `mig-agent`, `mig-agent-search`) by their own flags. Returns the exit code."""

    def call() -> int:
        from investigator.cli.mig import PROGRAMS

        return PROGRAMS[program](words)

    return reported(program, call)


def _typer(words: Sequence[str]) -> int:
    from investigator.cli.commands import root_command

    code = root_command().main(list(words), prog_name="investigator", standalone_mode=False)
    return code if isinstance(code, int) else 0


def reported(program: str, call: Callable[[], int]) -> int:
    """Run it, and turn whatever comes out into an exit code and one clear line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = call()
        sys.stdout.flush()
    except (BrokenPipeError, PipeClosed):
        return _pipe_closed()
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - the one place where every error becomes a line and a code
        from investigator.cli.report import report

        try:
            return report(error, program=program, debug=bool(os.environ.get(DEBUG)))
        except BrokenPipeError:
            return _pipe_closed()
    return code


def _pipe_closed() -> int:
    """Point stdout elsewhere, so that the interpreter's own flush at exit finds nothing to complain about."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return PIPE_CLOSED
