"""One line on a terminal that says how it stands, and gives way to everything else that is printed."""

from __future__ import annotations

import os
import shutil
import stat
from typing import Final, TextIO

from investigator.printable import fit

MIN_INTERVAL_S: Final = 0.1


class ProgressLine:
    """The line; it is there only if `wanted`."""

    def __init__(self, stderr: TextIO, *, wanted: bool) -> None:
        self._stderr = stderr
        self._wanted = wanted
        self._drawn = False
        self._drawn_s = float("-inf")

    def show(self, text: str, *, elapsed_s: float) -> None:
        """Draw it, at most ten times a second."""
        if not self._wanted or elapsed_s - self._drawn_s < MIN_INTERVAL_S:
            return
        self._drawn_s = elapsed_s
        width = shutil.get_terminal_size().columns
        self._stderr.write("\r\x1b[K" + fit(text, width - 1))
        self._stderr.flush()
        self._drawn = True

    def clear(self) -> None:
        """Take it away, before something else is printed on the same terminal."""
        if self._drawn:
            self._stderr.write("\r\x1b[K")
            self._stderr.flush()
            self._drawn = False
            self._drawn_s = float("-inf")


def progress_wanted(stdout: TextIO, stderr: TextIO) -> bool:
    """Whether somebody watches: stderr is a terminal that can move its cursor, and stdout leads into no pipe.

    Down a pipe there may be a pager, on the same terminal.
    """
    if not stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return False
    try:
        mode = os.fstat(stdout.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))
