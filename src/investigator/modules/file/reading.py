"""One file read once for all that is asked of it: line patterns and digests over the same blocks, in one reused buffer.

What was decided before an error stays decided; what was not has no answer, so that no check on it holds.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from investigator.modules.file.content import EXACT_LINE_BYTES, OVERLAP_BYTES, LinePattern, LineScan
from investigator.modules.file.opening import open_regular, path_text, reason
from investigator.modules.file.sources import (
    WORD_BYTES,
    GzipSource,
    PlainSource,
    ReadProblem,
    Source,
    can_inflate,
    gzip_head,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from investigator.modules.file.checks import Digest, Question
    from investigator.modules.file.readers import Job

GROWTH_BYTES: Final = 64 << 20
"""How much more than its size a file may yield: logs grow while they are read, some files in /proc never end."""
BUFFER_BYTES: Final = EXACT_LINE_BYTES + OVERLAP_BYTES
"""At least; a larger one has threads wait less often for the interpreter's lock."""
_KEEP_BYTES: Final = OVERLAP_BYTES + 16


@dataclass(slots=True, eq=False)
class Facts:
    """What is known of one file's content; shared by all links to it, of which one at a time is read (`Readers`)."""

    answers: dict[Question, bool] = field(default_factory=dict)
    digests: dict[Digest, str] = field(default_factory=dict)
    unsure: set[Question] = field(default_factory=set)
    """Of these a long line was judged in pieces; see `content`."""
    followers: list[Job] | None = None
    """While a link is with the readers, the others that wait for what becomes known; else None."""


class Blocks:
    """A buffer for one thread, which files are read through."""

    def __init__(self, buffer_bytes: int = 0) -> None:
        self.buffer = self._buffer = bytearray(max(buffer_bytes, BUFFER_BYTES))
        """Holds nothing between two files: others of the thread may use it then."""
        self._view = memoryview(self._buffer)
        self._filled = 0

    def read(self, source: Source, scans: list[LineScan], hashers: list[hashlib._Hash]) -> None:
        """Feed a whole file to the scans and hashers; ends early when all scans are decided and nothing is hashed.

        Raises:
            OSError, ReadProblem, OutOfTime: the scans hold what was decided on complete lines until then.
        """
        filled, kept, ended = 0, 0, False
        while not ended:
            try:
                filled, ended = self._fill(source, filled, hashers)
            except (OSError, ReadProblem):
                undecided = [scan for scan in scans if scan.answer is None]
                if self._buffer.find(b"\n", kept, self._filled) >= 0:
                    self._judge(undecided, self._filled, kept)
                raise
            scans = [scan for scan in scans if scan.answer is None]
            if not scans:
                if not hashers:
                    return
                filled = kept = 0
                continue
            if ended and filled and self._buffer[filled - 1] != 0x0A:
                self._buffer[filled] = 0x0A
                filled += 1
            filled, kept = self._judge(scans, filled, kept)
        for scan in scans:
            scan.close()

    def _fill(self, source: Source, filled: int, hashers: list[hashlib._Hash]) -> tuple[int, bool]:
        """Read until the buffer is full, but for the newline that a last line may lack; true at the file's end."""
        self._filled = filled
        size = len(self._buffer)
        while self._filled < size - WORD_BYTES:
            room = self._view[self._filled : size - 1]
            count = source.read_into(room)
            if count == 0:
                return self._filled, True
            for hasher in hashers:
                hasher.update(room[:count])
            self._filled += count
        return self._filled, False

    def _judge(self, scans: list[LineScan], filled: int, kept: int) -> tuple[int, int]:
        """Judge what is in the buffer and move the rest to its start.

        `kept` bytes at the start are of a long line, judged already and there for the overlap; returns the new
        (filled, kept).
        """
        buffer = self._buffer
        start = 0
        if kept:
            opening = next((at for at in range(4, 8) if buffer[at] & 0xC0 != 0x80), 8)
            newline = buffer.find(b"\n", kept, filled)
            if newline < 0:
                return self._long_piece(scans, opening, filled, opens=False)
            closing = newline - 1 if buffer[newline - 1] == 0x0D else newline
            for scan in scans:
                scan.piece(buffer, opening, closing, opens=False, closes=True)
            start = newline + 1
        cut = buffer.rfind(b"\n", start, filled) + 1
        if cut == 0 and start == 0:
            return self._long_piece(scans, 0, filled, opens=True) if filled >= len(buffer) - WORD_BYTES else (filled, 0)
        cut = max(cut, start)
        for scan in scans:
            scan.whole_lines(buffer, start, cut)
        return self._keep(cut, filled), 0

    def _long_piece(self, scans: list[LineScan], start: int, filled: int, *, opens: bool) -> tuple[int, int]:
        end = filled - 4
        end -= next((back for back in range(4) if self._buffer[end - back] & 0xC0 != 0x80), 0)
        for scan in scans:
            scan.piece(self._buffer, start, end, opens=opens, closes=False)
        kept = self._keep(filled - _KEEP_BYTES, filled)
        return kept, kept

    def _keep(self, start: int, filled: int) -> int:
        self._buffer[: filled - start] = self._buffer[start:filled]
        return filled - start


@dataclass(slots=True, eq=False)
class Reading:
    """One opened file, read as often as what is still unknown asks for, and not at all when nothing is."""

    path: bytes
    follow: bool
    facts: Facts
    blocks: Blocks
    patterns: dict[str, LinePattern]
    endless: Callable[[os.stat_result], bool]
    """Whether a file's size says nothing about how much it yields."""
    deadline_s: float
    errors: list[str] = field(default_factory=list)
    unopened: bool = False
    _descriptor: int = -1
    _status: os.stat_result | None = None
    _used: bool = False
    """Read from already; some files in /proc can be read but not rewound."""
    _inflates: bool | None = None
    _broken: set[bool] = field(default_factory=set)
    """The ways to read it, as it is (False) or inflated (True), that did not come to the end."""

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def find_out(self, questions: Iterable[Question], digests: Iterable[Digest]) -> None:
        """Have the facts hold as much as can be read of what is asked; problems are added to `errors`."""
        facts = self.facts
        asked = [item for item in questions if item not in facts.answers]
        wanted = [item for item in digests if item not in facts.digests]
        if not (asked or wanted) or not self._open():
            return
        for inflated, *_ in (*asked, *wanted):
            if inflated and self._is_gzip():
                for way in (False, True):
                    here = [item for item in asked if item[0] == way]
                    self._read(here, [item for item in wanted if item[0] == way], inflate=way)
                return
        self._read(asked, wanted, inflate=False)

    def _open(self) -> bool:
        if self._descriptor < 0 and not self._broken:
            try:
                self._descriptor, self._status = open_regular(self.path, follow=self.follow)
            except OSError as error:
                self.unopened = True
                self._problem("open", reason(error))
                self._broken = {False, True}
        return self._descriptor >= 0

    def _is_gzip(self) -> bool:
        if self._inflates is None:
            self._rewind()
            head = gzip_head(self._descriptor)
            self._inflates = bool(head) and can_inflate(head)
            if head and not self._inflates:
                self._problem("read", "gzip: invalid header; read as it is")
        return self._inflates

    def _read(self, questions: list[Question], digests: list[Digest], *, inflate: bool) -> None:
        if not (questions or digests) or inflate in self._broken:
            return
        scans = {item: LineScan(self.patterns[item[1]], every=item[2]) for item in questions}
        hashers = {name: hashlib.new(name, usedforsecurity=False) for _, name in digests}
        try:
            self._rewind()
            size = 0 if self._status is None or self.endless(self._status) else self._status.st_size
            plain = PlainSource(
                self._descriptor, deadline_s=self.deadline_s, limit_bytes=size + GROWTH_BYTES, size=size
            )
            self.blocks.read(GzipSource(plain) if inflate else plain, list(scans.values()), list(hashers.values()))
        except (OSError, ReadProblem) as error:
            self._problem("read", reason(error) if isinstance(error, OSError) else str(error))
            self._broken.add(inflate)
        else:
            for digest in digests:
                self.facts.digests[digest] = hashers[digest[1]].hexdigest().upper()
        for item, scan in scans.items():
            if scan.answer is not None:
                self.facts.answers[item] = scan.answer
            if scan.unsure:
                self.facts.unsure.add(item)

    def _rewind(self) -> None:
        if self._used:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._used = True

    def _problem(self, doing: str, why: str) -> None:
        self.errors.append(f"ERROR: {doing} {path_text(self.path)}: {why}")
