r"""What points at places that may match, and passes none over: RE2 over bytes, and Hyperscan before it where that pays.

For lines `line_prefilter(pattern)`, for text that has none (memory) `raw_prefilter(pattern)`; both give None for a pattern
that cannot be rewritten, and then everything has to be judged. A prefilter may be used by several threads at once, and
releases the interpreter's lock while it searches.

Hyperscan is brought in when RE2 has cost a pattern as much time as compiling for Hyperscan will: a small search never pays
for it, a large one pays at most double the price of the better choice.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from investigator.modules.patterns.hyper import compile_filter, price_s
from investigator.modules.patterns.superset import Superset, compile_superset, superset, without_start

if TYPE_CHECKING:
    from investigator.modules.patterns.libhs import Database

MIN_BLOCK_BYTES: Final = 256
"""Below, a call to Hyperscan costs more than RE2's search."""

_LOOSE_ATTEMPTS: Final = 16
"""So many times the literal may stand elsewhere than at a line's start, before `^` is asked for after all."""


class Prefilter(Protocol):
    """Says where something that may match is; compiled for one pattern."""

    def candidate(self, buffer: bytearray | bytes, start: int, end: int) -> int:
        """Where the first match that may be begins in `buffer[start:end]`, or -1: there is none.

        Bytes before and after, as far as `buffer` has them, count as what surrounds the part. For lines a position in
        the first line that may match, where `start` is in its first line and `end` at the end of its last.
        """


class Re2Prefilter:
    """The byte superset, run by RE2 in Latin-1."""

    def __init__(self, program: Any, loose: Any | None = None) -> None:
        """`loose`: a program without the `^` that the pattern starts with, for RE2 then looks for the literal alone."""
        self._search = program.search
        self._loose: Any = None if loose is None else loose.search

    def candidate(self, buffer: bytearray | bytes, start: int, end: int) -> int:
        """See `Prefilter`."""
        loose = self._loose
        for _ in range(_LOOSE_ATTEMPTS) if loose is not None else ():
            found = loose(buffer, start, end)
            if found is None:
                return -1
            start = found.start()
            if start == 0 or buffer[start - 1] == 0x0A:
                return int(start)
            start += 1
        found = self._search(buffer, start, end)
        return -1 if found is None else int(found.start())


class TwoStagePrefilter:
    """Hyperscan says whether a block has a candidate at all, RE2 where; RE2 alone until that pays."""

    def __init__(self, slow: Prefilter, rewritten: Superset, program_size: int) -> None:
        self._slow = slow
        self._source = (rewritten, program_size)
        self._has_start = "(?:^)" in rewritten.pattern
        self._left_s = price_s(program_size)
        self._compiling = threading.Lock()
        self._fast: Database | None = None

    def candidate(self, buffer: bytearray | bytes, start: int, end: int) -> int:
        """See `Prefilter`."""
        fast = self._fast
        if fast is not None:
            # a byte more on either side: the part's own edges are then not taken for edges of a line
            first, behind = max(start - 1, 0), min(end + 1, len(buffer))
            if (
                end - start >= MIN_BLOCK_BYTES
                and not fast.may_match(buffer, first, behind)
                # behind a block's last newline there is no empty line for Hyperscan
                and not (self._has_start and behind == end and buffer[end - 1] == 0x0A)
            ):
                return -1
            return self._slow.candidate(buffer, start, end)
        if self._left_s == _NEVER:
            return self._slow.candidate(buffer, start, end)
        began = time.perf_counter()
        place = self._slow.candidate(buffer, start, end)
        self._left_s -= time.perf_counter() - began  # threads may lose each other's; it is a rule of thumb
        if self._left_s <= 0 and self._compiling.acquire(blocking=False):
            self.bring_in()
        return place

    @property
    def has_hyperscan(self) -> bool:
        """Whether it was brought in."""
        return self._fast is not None

    def bring_in(self) -> bool:
        """Compile for Hyperscan now; false: RE2 stays alone."""
        self._fast = compile_filter(*self._source)
        self._left_s = _NEVER
        return self._fast is not None


_NEVER: Final = float("inf")


def line_prefilter(pattern: str) -> Prefilter | None:
    """The prefilter for a pattern on lines (see `superset`); None: it cannot be rewritten."""
    return _prefilter(superset(pattern))


def raw_prefilter(pattern: str) -> Prefilter | None:
    """The prefilter for a pattern on text without lines; None: it cannot be rewritten.

    `candidate` tells where the first match that may lie within the given part begins, at that or a later byte. Judge from
    there on, and ask again behind a match, or from the next byte on if it was none.
    """
    return _prefilter(superset(pattern, raw=True))


def literal_prefilter(needle: bytes) -> Prefilter:
    """Finds a sequence of bytes: each candidate is one."""
    found = _prefilter(Superset("(?m)" + "".join(f"[\\x{byte:02x}]" for byte in needle), exact=True))
    if found is None:
        raise ValueError(f"{len(needle):,} bytes are too many to look for")
    return found


def _prefilter(rewritten: Superset | None) -> Prefilter | None:
    program = compile_superset(rewritten)
    if rewritten is None or program is None:
        return None
    loose = compile_superset(without_start(rewritten))
    return TwoStagePrefilter(Re2Prefilter(program, loose), rewritten, program.programsize)
