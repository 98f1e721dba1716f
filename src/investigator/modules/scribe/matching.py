"""Lines of one file: what an expression captures in each, or whether it matches any.

Files are read in pieces of bounded size. RE2 judges lines; a byte pattern that finds a superset points at candidates, as in the
file module. A line of more than `MAX_LINE_BYTES` is judged by so much of its start, which is said.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from investigator.modules.file.opening import open_file, path_text, reason
from investigator.modules.patterns.prefilter import Prefilter, line_prefilter
from investigator.modules.scribe.locating import Undecided
from investigator.protocol.regex import compile_regex, tolerant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from investigator.modules.notes import Notes

MAX_LINE_BYTES: Final = 4 << 20
_PIECE_BYTES: Final = 1 << 20
_ENDLESS_BYTES: Final = 64 << 20
"""How much is read of a file whose size says nothing, and how much more than its size of any other."""

_LARGEST_BYTES: Final = 1 << 40
"""Some files in /proc claim to have more."""


class Expression:
    """A regular expression on lines."""

    def __init__(self, pattern: str) -> None:
        """Raises BadRegex: it does not compile."""
        self._search: Any = compile_regex(pattern).search
        self._prefilter: Prefilter | None = line_prefilter(pattern)

    def captures(self, path: bytes, deadline_s: float, notes: Notes) -> Iterator[tuple[str, ...]]:
        """The capture groups of each line that matches, in order; a group that took no part is empty.

        Raises:
            Undecided: out of time. What cannot be read is added to `notes`.
        """
        try:
            for found in self._matches(path, deadline_s, notes):
                yield tuple((group or b"").decode("utf-8", "replace") for group in found.groups())
        except OSError as error:
            notes.error(f"could not read {path_text(path)}: {reason(error)}")

    def occurs(self, path: bytes, deadline_s: float, notes: Notes) -> bool | None:
        """Whether any line matches; None: the file could not be read, which is added to `notes`.

        Raises:
            Undecided: out of time.
        """
        try:
            return next(self._matches(path, deadline_s, notes), None) is not None
        except OSError as error:
            notes.error(f"could not read {path_text(path)}: {reason(error)}")
            return None

    def _matches(self, path: bytes, deadline_s: float, notes: Notes) -> Iterator[Any]:
        descriptor = open_file(path, follow=True)
        try:
            for block in _blocks(descriptor, path, deadline_s, notes):
                yield from self._in_lines(block)
        finally:
            os.close(descriptor)

    def _in_lines(self, block: bytes) -> Iterator[Any]:
        """The first match of each line; the block's last byte is a newline."""
        start, last = 0, len(block) - 1
        while start <= last:
            at = start if self._prefilter is None else self._prefilter.candidate(block, start, last)
            if at < 0:
                return
            stop = block.find(b"\n", at)
            line = block[block.rfind(b"\n", start, at) + 1 or start : stop]
            found = self._search(tolerant(line.removesuffix(b"\r")))
            if found is not None:
                yield found
            start = stop + 1


def _blocks(descriptor: int, path: bytes, deadline_s: float, notes: Notes) -> Iterator[bytes]:
    """The file's whole lines, many at a time, each with its newline."""
    left = min(os.fstat(descriptor).st_size, _LARGEST_BYTES) + _ENDLESS_BYTES
    rest = b""
    while piece := os.read(descriptor, _PIECE_BYTES):
        if time.monotonic() > deadline_s:
            raise Undecided(f"out of time while reading {path_text(path)}")
        left -= len(piece)
        if left < 0:
            notes.error(f"could not read {path_text(path)} to its end: it does not seem to have one")
            break
        rest += piece
        cut = rest.rfind(b"\n") + 1
        if cut:
            yield rest[:cut]
            rest = rest[cut:]
        elif len(rest) > MAX_LINE_BYTES:
            notes.error(f"{path_text(path)}: a line of more than {MAX_LINE_BYTES:,} bytes is judged by its start")
            yield rest[:MAX_LINE_BYTES] + b"\n"
            rest = _next_line(descriptor, deadline_s, path)
    if rest:
        yield rest + b"\n"


def _next_line(descriptor: int, deadline_s: float, path: bytes) -> bytes:
    """Read on to the next line; what of it was read already."""
    while piece := os.read(descriptor, _PIECE_BYTES):
        if time.monotonic() > deadline_s:
            raise Undecided(f"out of time while reading {path_text(path)}")
        newline = piece.find(b"\n")
        if newline >= 0:
            return piece[newline + 1 :]
    return b""
