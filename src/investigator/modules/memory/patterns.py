r"""What memory is searched for: regular expressions and bytes, in windows over runs of adjacent readable memory.

The definition: a run is what a process can read without a gap. On a run a regular expression is RE2's, unanchored; bytes
that are no UTF-8 count as U+FFFD each. Memory has no lines and begins nowhere, so that MIG's `^` and `$`, the ends of
whatever window it had read, meant nothing: here they hold at newlines and at a run's ends, `\A` and `\z` at the latter.

A window is searched with what was kept of the one before, so that a match of up to `OVERLAP_BYTES` is found wherever it
lies. A prefilter over bytes says where a match may begin, and never passes one over; RE2 judges from there on.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import Any, Final

from investigator.modules.patterns.prefilter import Prefilter, literal_prefilter, raw_prefilter
from investigator.modules.processes.searches import compile_at
from investigator.protocol.regex import tolerant

OVERLAP_BYTES: Final = 64 << 10
EDGE_BYTES: Final = 8
"""What is left at either edge of a window: a character that the edge cuts, and one that may surround a match."""
_CLOSE_BYTES: Final = 4096
_CLOSE_LOOKS: Final = 8
"""So many candidates are judged on a small part each, before all of the rest of a window is."""


@dataclass(frozen=True, slots=True)
class Window:
    """Bytes of one run, in a buffer."""

    buffer: bytearray
    filled: int
    fresh: int
    """From here on they were not searched before."""
    opens: bool
    """The run begins at the first byte."""
    closes: bool
    """It ends behind the last."""


class BytesPattern:
    """A sequence of bytes."""

    def __init__(self, needle: bytes) -> None:
        self._size = len(needle)
        self._prefilter = literal_prefilter(needle)

    def find(self, window: Window) -> int:
        """Where the first one begins in the buffer, or -1."""
        start = max(window.fresh - self._size + 1, 0)
        return self._prefilter.candidate(window.buffer, start, window.filled)


class ContentPattern:
    """A regular expression."""

    def __init__(self, pattern: str, where: str, *, memory_bytes: int) -> None:
        """Raises BadRegex, beginning with `where`."""
        compile_at(pattern, where, memory_bytes=memory_bytes)
        self._source = (f"(?m){pattern}", where, memory_bytes)
        self._lock = threading.Lock()
        self._search: Any = None
        self._prefilter: Prefilter | None = raw_prefilter(pattern)

    def find(self, window: Window) -> int:
        """Where a match begins in the buffer (nearly always the first), or -1.

        All matches are found that begin at or behind `EDGE_BYTES` and end that much before the end; the edges too where the
        run begins or ends there.
        """
        start = 0 if window.opens else EDGE_BYTES
        for _ in range(_CLOSE_LOOKS):
            start = self._candidate(window, start)
            if start < 0:
                return -1
            found = self._judge(window, start, min(start + _CLOSE_BYTES, window.filled))
            if found >= 0:
                return found
            start += 1
        start = self._candidate(window, start)
        return -1 if start < 0 else self._judge(window, start, window.filled)

    def _candidate(self, window: Window, start: int) -> int:
        if start > window.filled or (start == window.filled and not window.closes):
            return -1
        if self._prefilter is None:
            return start
        return self._prefilter.candidate(window.buffer, start, window.filled)

    def _judge(self, window: Window, start: int, end: int) -> int:
        """Where a match begins in `start:end`; as RE2 sees what surrounds the part, nothing holds at its edges alone."""
        first = max(start - EDGE_BYTES, 0)
        raw = bytes(window.buffer[first:end])
        text = tolerant(raw)
        place, stop = start - first, len(text)
        if len(text) != len(raw):
            place = len(tolerant(raw[: _whole_character(raw, place)]))
        if not (window.closes and end == window.filled):
            stop = max(len(text) - len(tolerant(raw[-EDGE_BYTES:])), place)
        found = self._program()(text, place, stop)
        return -1 if found is None else first + _raw_place(raw, text, found.start())

    def _program(self) -> Any:
        """Compiled when it is first needed: hardly any pattern gets past its prefilter."""
        if self._search is None:
            with self._lock:
                pattern, where, memory_bytes = self._source
                self._search = compile_at(pattern, where, memory_bytes=memory_bytes).search
        return self._search


def _whole_character(raw: bytes, place: int) -> int:
    """The place itself, or where the character begins that it lies within."""
    for lead in range(max(place - 3, 0), place):
        size = 4 if raw[lead] >= 0xF0 else 3 if raw[lead] >= 0xE0 else 2 if raw[lead] >= 0xC0 else 1
        if lead + size > place:
            with contextlib.suppress(UnicodeDecodeError):
                raw[lead : lead + size].decode()
                return lead
    return place


def _raw_place(raw: bytes, text: bytes, place: int) -> int:
    """The place in the raw bytes for one in their text: both have the same characters."""
    if len(raw) == len(text):
        return place
    characters = len(text[:place].decode())
    return len(raw.decode("utf-8", "surrogateescape")[:characters].encode("utf-8", "surrogateescape"))
