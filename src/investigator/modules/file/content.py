r"""Regular expressions on the lines of files of any size, in blocks: the judge, and what points it at candidates.

The definition (MIG's) is per line: a line ends at `\n`, one `\r` before it is dropped, the last needs no `\n`; bytes
that are no UTF-8 count as U+FFFD each. Going line by line in Python is slow, so whole blocks are searched with a
prefilter (`patterns`), which finds every line that may match and never passes one over; `LinePattern` judges those with
RE2 on the line itself.

Lines of up to `EXACT_LINE_BYTES` are judged whole. A longer one is judged in overlapping pieces, so that memory stays
bounded: in it, matches of up to `OVERLAP_BYTES` are found for certain, and `LineScan.unsure` says when that matters.
"""

from __future__ import annotations

from typing import Any, Final

from investigator.modules.patterns.prefilter import line_prefilter
from investigator.modules.patterns.superset import is_short
from investigator.protocol.regex import compile_regex, tolerant

EXACT_LINE_BYTES: Final = 1 << 20
OVERLAP_BYTES: Final = 64 << 10
MIN_PATTERN_BYTES: Final = 4 << 20
ALL_PATTERNS_BYTES: Final = 32 << 20
"""What the automata of all patterns together should take; each has at least the former."""


class LinePattern:
    """One regular expression, judged on lines."""

    def __init__(self, pattern: str, *, memory_bytes: int = ALL_PATTERNS_BYTES) -> None:
        """Raises BadRegex: it does not compile."""
        self.pattern = pattern
        self._judge = _judge(pattern, memory_bytes).search
        self.prefilter = line_prefilter(pattern)
        self.short = is_short(pattern, OVERLAP_BYTES)
        """No match of it can be longer than what pieces of a long line overlap by."""

    def matches(self, line: bytes) -> bool:
        """Whether it matches one line, given without its newline and CR; the definition of everything below."""
        return self._judge(tolerant(line)) is not None

    def in_any(self, buffer: bytearray | bytes, start: int, end: int) -> bool:
        """Whether it matches some line of `buffer[start:end]`, whole lines each with its newline."""
        last = end - 1
        if self.prefilter is None:
            return any(self.matches(line) for line in lines(buffer, start, end))
        candidate = self.prefilter.candidate
        while start < end:
            place = candidate(buffer, start, last)
            if place < 0:
                return False
            stop = buffer.find(b"\n", place, end)
            if self.matches(_line(buffer, buffer.rfind(b"\n", start, place) + 1 or start, stop)):
                return True
            start = stop + 1
        return False

    def in_every(self, buffer: bytearray | bytes, start: int, end: int) -> bool:
        """Whether it matches each line of `buffer[start:end]`, whole lines each with its newline."""
        return all(self.matches(line) for line in lines(buffer, start, end))

    def in_piece(self, buffer: bytearray, start: int, end: int, *, opens: bool, closes: bool) -> bool:
        """Whether it matches within `buffer[start:end]`, a piece of a long line.

        `opens`: the line begins at `start`; else at least four of its bytes stand in `buffer` before. `closes`: the line ends
        at `end`, with its CR already left out; else at least four of its bytes follow.
        """
        whole = end + 1 if closes and buffer[end] == 0x0D else end  # the prefilter takes the CR itself
        if self.prefilter is not None and self.prefilter.candidate(buffer, start, whole) < 0:
            return False
        before = b"" if opens else tolerant(bytes(buffer[start - 4 : start]))
        after = b"" if closes else tolerant(bytes(buffer[end : end + 4]))
        text = tolerant(bytes(buffer[start:end]))
        # RE2 sees what surrounds the part that it searches: ^ $ \b hold only at the line's own ends
        return self._judge(before + text + after, len(before), len(before) + len(text)) is not None


def _judge(pattern: str, memory_bytes: int) -> Any:
    from investigator.errors import BadRegex

    try:
        return compile_regex(pattern, memory_bytes=max(memory_bytes, MIN_PATTERN_BYTES))
    except BadRegex:
        return compile_regex(pattern)  # a large program may take more than its share


def lines(buffer: bytearray | bytes, start: int, end: int) -> Any:
    """The lines of `buffer[start:end]` without newline and CR; each has its newline within."""
    while start < end:
        stop = buffer.find(b"\n", start, end)
        yield _line(buffer, start, stop)
        start = stop + 1


def _line(buffer: bytearray | bytes, start: int, stop: int) -> bytes:
    if stop > start and buffer[stop - 1] == 0x0D:
        stop -= 1
    return bytes(buffer[start:stop])


class LineScan:
    """One pattern on one file: fed with its blocks in order, decided as early as can be.

    `every` asks whether all lines match (and there is one), else whether some line does. `answer` is None until it is
    decided; `close` decides what is left.
    """

    __slots__ = ("_in_line", "_seen", "answer", "every", "pattern", "unsure")

    def __init__(self, pattern: LinePattern, *, every: bool) -> None:
        self.pattern = pattern
        self.every = every
        self.answer: bool | None = None
        self.unsure = False
        """A long line was judged in pieces, and a match longer than they overlap by may be missed."""
        self._seen = False
        self._in_line = False  # whether the long line at hand has matched already

    def whole_lines(self, buffer: bytearray, start: int, end: int) -> None:
        """Judge complete lines, each with its newline."""
        if self.answer is not None or start >= end:
            return
        self._seen = True
        if self.every:
            if not self.pattern.in_every(buffer, start, end):
                self.answer = False
        elif self.pattern.in_any(buffer, start, end):
            self.answer = True

    def piece(self, buffer: bytearray, start: int, end: int, *, opens: bool, closes: bool) -> None:
        """Judge a piece of a line that is too long to be judged whole; see `LinePattern.in_piece`."""
        if self.answer is not None:
            return
        self._seen = True
        self._in_line = (self._in_line and not opens) or self.pattern.in_piece(
            buffer, start, end, opens=opens, closes=closes
        )
        if not self.every and self._in_line:
            self.answer = True
        elif closes and not self._in_line:
            self.unsure = self.unsure or not self.pattern.short
            if self.every:
                self.answer = False

    def close(self) -> bool:
        """The answer, now that the whole file was seen."""
        if self.answer is None:
            self.answer = self.every and self._seen
        if self.answer and not self.every:
            self.unsure = False
        return self.answer
