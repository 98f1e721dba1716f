"""What a nats-server wrote into its log, as far as somebody should be told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_LINE: Final = re.compile(r"^\[\d+\] \S+ \S+ \[(FTL|ERR)\] (.*)$", re.MULTILINE)
_MAX_BYTES: Final = 1 << 20
_CLIENT: Final = re.compile(r"^(\S+:\d+ - \w+:\d+|\d+\.\d+\.\d+\.\d+:\d+)")
"""Errors of one connection, which that connection is told itself."""


class ServerLog:
    """The log from a moment on; the server rotates it at a size of its own."""

    def __init__(self, path: Path) -> None:
        """Nothing is read yet."""
        self.path = path
        self._offset = 0

    def begin_here(self) -> None:
        """Only what comes from now on counts."""
        self._offset = self.path.stat().st_size if self.path.exists() else 0

    def fatal(self) -> str:
        """Why the server ended, in its own words; empty if it did not say."""
        fatal = [text for level, text in _LINE.findall(self._read(self._offset)) if level == "FTL"]
        return fatal[-1] if fatal else ""

    def new_errors(self) -> list[str]:
        """Errors of the server itself since the last call, each once."""
        text = self._read(self._offset)
        whole, _, _ = text.rpartition("\n")
        self._offset += len(whole.encode()) + 1 if whole else 0
        return list(dict.fromkeys(text for _, text in _LINE.findall(whole) if not _CLIENT.match(text)))

    def _read(self, offset: int) -> str:
        try:
            with self.path.open("rb") as log:
                size = log.seek(0, 2)
                if offset > size:  # it was rotated
                    offset = self._offset = 0
                log.seek(max(offset, size - _MAX_BYTES))
                return log.read().decode("ascii", "replace").replace("\N{REPLACEMENT CHARACTER}", "?")
        except OSError:
            return ""
