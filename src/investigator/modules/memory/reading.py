"""A process's memory, read once for all that it is searched for: in windows, through one reused buffer.

The process is neither stopped nor attached to: its memory is read as a file (/proc/PID/mem), with pread.
"""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from investigator.modules.file.opening import reason
from investigator.modules.memory.patterns import OVERLAP_BYTES, Window
from investigator.modules.memory.spans import PAGE, Span, device_reason, readable, spans
from investigator.modules.processes.crew import OutOfTime
from investigator.modules.processes.procfs import Ended

if TYPE_CHECKING:
    from collections.abc import Iterable

    from investigator.modules.memory.patterns import BytesPattern, ContentPattern
    from investigator.modules.processes.parsing import Region
    from investigator.modules.processes.procfs import Process

BLOCK_BYTES: Final = 1 << 20
ZEROS_BYTES: Final = 64 << 10
"""A longer stretch of pages that were never touched is not gone through: of what borders on it, a page's worth is."""
_GIVE_UP_PAGES: Final = 16
"""After so many pages in a row that cannot be read, the rest of the span is left."""
_NOWAIT: Final = getattr(os, "RWF_NOWAIT", 0)
_NOT_SUPPORTED: Final = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


@dataclass(slots=True)
class Found:
    """Where something was found."""

    address: int
    region: Region


@dataclass(slots=True)
class Reading:
    """What came of reading one process."""

    found: dict[ContentPattern | BytesPattern, Found] = field(default_factory=dict)
    bytes_read: int = 0
    unread: list[tuple[int, int, Region, str]] = field(default_factory=list)
    """(start, end, region, why) of what could not be read."""
    swapped_bytes: int = 0
    """Left alone."""
    no_files: bool = False
    """What a process has not touched of the files that it maps was not read, for that takes more rights."""


class Buffer:
    """For one thread."""

    def __init__(self) -> None:
        self.data = bytearray(OVERLAP_BYTES + BLOCK_BYTES)
        self.view = memoryview(self.data)


class Reader:
    """Reads one process for several patterns."""

    def __init__(
        self,
        process: Process,
        wanted: Iterable[ContentPattern | BytesPattern],
        buffer: Buffer,
        *,
        deadline_s: float,
        devices: dict[tuple[bytes, int], str],
    ) -> None:
        """Raises Ended, PermissionError or another OSError: its memory cannot be opened."""
        self.outcome = Reading()
        self._process = process
        self._wanted = list(wanted)
        self._buffer = buffer
        self._deadline_s = deadline_s
        self._devices = devices
        self._start = self._end = 0  # addresses of what the buffer holds
        self._fresh = 0
        self._opens = True
        self._pieces: list[Span] = []
        self._file = -1
        self._memory = process.open_memory()
        try:
            self._pagemap = process.open_pagemap()
        except BaseException:
            os.close(self._memory)
            raise

    def close(self) -> None:
        """Let go of the process's memory."""
        os.close(self._memory)
        os.close(self._pagemap)
        self._close_file()

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def run(self, *, offset: int, maxlength: int, swapped: bool) -> Reading:
        """Read until everything is found, or read.

        Raises Ended, OutOfTime, or OSError if the map cannot be read; `outcome` has what was found before.
        """
        for region in readable(self._process.regions(), offset=offset, maxlength=maxlength):
            why = device_reason(self._process, region, self._devices)
            if why:
                self.outcome.unread.append((region.start, region.end, region, why))
                continue
            for span in spans(region, self._pagemap, swapped=swapped):
                self._read(span)
                if not self._wanted:
                    return self.outcome
            self._close_file()
        self._finish_run()
        return self.outcome

    def _read(self, span: Span) -> None:
        if span.start != self._end:
            self._finish_run()
            self._start = self._end = span.start
        match span.kind:
            case "memory":
                self._read_memory(span)
            case "zeros":
                self._read_zeros(span)
            case "file":
                self._read_file(span)
            case "swapped":
                self.outcome.swapped_bytes += span.end - span.start

    def _read_memory(self, span: Span) -> None:
        failed = 0
        address = span.start
        while address < span.end:
            room = self._room(span, address)
            try:
                count = os.preadv(self._memory, [room], address)
            except OSError as error:
                failed += 1
                behind = span.end if failed == _GIVE_UP_PAGES else min((address // PAGE + 1) * PAGE, span.end)
                self._note_unread(address, behind, span.region, reason(error))
                address = behind
                continue
            if count == 0:
                raise Ended
            failed = 0
            address += count
            self._take(count, span)

    def _read_zeros(self, span: Span) -> None:
        """Never touched; a long stretch is a page at its start, and one at its end."""
        size = span.end - span.start
        pieces = [(span.start, size)] if size <= ZEROS_BYTES else [(span.start, PAGE), (span.end - PAGE, PAGE)]
        for start, left in pieces:
            address = start
            while address < start + left:
                room = self._room(span, address)[: start + left - address]
                room[:] = bytes(len(room))
                address += len(room)
                self._take(len(room), span)

    def _read_file(self, span: Span) -> None:
        """What the process has not touched of a file that it maps, as far as the host has it in memory."""
        if self._file < 0:
            try:
                self._file = self._process.open_mapped(span.region)
            except PermissionError:
                self.outcome.no_files = True
                return
            except OSError:  # unmapped meanwhile, or no regular file
                return
        address, flags = span.start, _NOWAIT
        while address < span.end:
            room = self._room(span, address)
            try:
                count = os.preadv(self._file, [room], span.region.offset + address - span.region.start, flags)
            except BlockingIOError:  # on the disk alone
                address = (address // PAGE + 1) * PAGE
                continue
            except OSError as error:
                if flags and error.errno in _NOT_SUPPORTED:
                    flags = 0
                    continue
                self._note_unread(address, span.end, span.region, reason(error))
                return
            if count == 0:  # the mapping goes on behind the file's end
                return
            address += count
            self._take(count, span)

    def _room(self, span: Span, address: int) -> memoryview:
        """Where the bytes from an address on go; what is in the buffer is searched first if it is full."""
        if time.monotonic() > self._deadline_s:
            raise OutOfTime
        if address != self._end:
            self._finish_run()
            self._start = self._end = address
        filled = self._end - self._start
        if filled == len(self._buffer.data):
            self._search(closes=False)
            kept = OVERLAP_BYTES
            self._buffer.data[:kept] = self._buffer.view[filled - kept : filled]
            self._start = self._end - kept
            self._fresh = filled = kept
            self._opens = False
            self._pieces = [piece for piece in self._pieces if piece.end > self._start]
        return self._buffer.view[filled : filled + span.end - address]

    def _take(self, count: int, span: Span) -> None:
        """So many bytes were put where `_room` said."""
        self._end += count
        if span.kind != "zeros":
            self.outcome.bytes_read += count
        if not self._pieces or self._pieces[-1] is not span:
            self._pieces.append(span)

    def _finish_run(self) -> None:
        """A gap follows."""
        if self._end > self._start:
            self._search(closes=True)
        self._start = self._end
        self._fresh = 0
        self._opens = True
        self._pieces.clear()

    def _search(self, *, closes: bool) -> None:
        window = Window(self._buffer.data, self._end - self._start, self._fresh, opens=self._opens, closes=closes)
        for pattern in tuple(self._wanted):
            place = pattern.find(window)
            if place >= 0:
                self._wanted.remove(pattern)
                self.outcome.found[pattern] = self._where(self._start + place)

    def _where(self, address: int) -> Found:
        regions = [piece.region for piece in self._pieces if piece.start <= address < piece.end]
        return Found(address, regions[0] if regions else self._pieces[-1].region)

    def _note_unread(self, start: int, end: int, region: Region, why: str) -> None:
        unread = self.outcome.unread
        if unread and unread[-1][1] == start and unread[-1][2:] == (region, why):
            unread[-1] = (unread[-1][0], end, region, why)
        else:
            unread.append((start, end, region, why))
